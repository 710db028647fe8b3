/** Networks that the pods of all nodes are in: what comes from elsewhere comes from outside of the cluster. */
export const POD_NETWORKS = { v4: '10.244.0.0/16', v6: 'fd10:244::/32' } as const;
