import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { StatusError, internalError } from '@slipway/apimachinery';
import { WebSocketServer } from 'ws';
import type { ApiRequest } from '../pipeline/request.ts';
import type { ServerContext } from '../pipeline/server-context.ts';
import { openSpdy, openStream } from '../routing/streams.ts';
import { acceptSpdy, isSpdyUpgrade } from './spdy-upgrade.ts';
import { messageStream } from './web-socket-stream.ts';

/** Answers a WebSocket or SPDY request: everything is checked before the protocol changes hands. */
export async function handleUpgrade(
  server: ServerContext,
  apiRequest: ApiRequest,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  try {
    if (isSpdyUpgrade(request.headers.upgrade)) {
      const spdy = await openSpdy(server, apiRequest);
      acceptSpdy(spdy, socket, head).catch((error: unknown) => {
        server.logError(error, `stream ${apiRequest.path}`);
        socket.destroy();
      });
      return;
    }
    const acceptor = await openStream(server, apiRequest);
    const sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: 32 * 1024 * 1024,
      handleProtocols: (offered) => [...offered].find((name) => acceptor.protocols.includes(name)) ?? false,
    });
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const stream = messageStream(webSocket, acceptor.isText?.(webSocket.protocol) === true);
      acceptor.run(stream).then(
        () => stream.close(1000),
        (error: unknown) => {
          server.logError(error, `stream ${apiRequest.path}`);
          stream.close(1011, error instanceof Error ? error.message.slice(0, 100) : 'failed');
        },
      );
    });
  } catch (error) {
    refuse(socket, error);
  }
}

function refuse(socket: Duplex, error: unknown): void {
  const status = error instanceof StatusError ? error.status : internalError('cannot open the stream').status;
  const body = `${JSON.stringify(status)}\n`;
  const code = status.code ?? 500;
  socket.end(
    `HTTP/1.1 ${code} ${status.reason ?? 'Error'}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
