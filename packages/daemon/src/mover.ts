import { moverProcess } from '@slipway/cdi';

/** Entry of a data mover process; the node agent starts one per transfer, unprivileged. */
await moverProcess(process.argv.slice(2), process.env);
