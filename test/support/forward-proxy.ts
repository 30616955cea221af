/** An HTTP proxy of this machine: tunnels by CONNECT, and forwards requests with whole addresses. */
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface TestProxy {
  /** Such as http://127.0.0.1:40001 */
  readonly url: string;
  readonly host: string;
  /** `CONNECT host:port` or `GET http://…`, in the order of arrival. */
  readonly log: string[];
  close(): Promise<void>;
}

/**
 * @param hosts ports on this machine by the names that only the proxy knows, such as `files.invalid`
 * @param login what clients have to send, as `user:password`
 */
export async function startProxy(
  hosts: Readonly<Record<string, number>>,
  login?: string,
): Promise<TestProxy> {
  const log: string[] = [];
  const sockets = new Set<Socket>();
  const admits = ({ headers }: IncomingMessage) =>
    login === undefined ||
    headers["proxy-authorization"] === `Basic ${Buffer.from(login).toString("base64")}`;
  const place = (host: string, port: number) =>
    hosts[host] === undefined ? { host, port } : { host: "127.0.0.1", port: hosts[host] };

  const server: Server = createServer((incoming, response) => {
    log.push(`${incoming.method} ${incoming.url}`);
    if (!admits(incoming)) {
      response.writeHead(407, { "proxy-authenticate": "Basic" }).end();
      return;
    }
    const { hostname, port, pathname, search } = new URL(incoming.url ?? "");
    const outgoing = request(
      {
        ...place(hostname, Number(port) || 80),
        method: incoming.method,
        path: `${pathname}${search}`,
        headers: incoming.headers,
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    outgoing.on("error", () => response.destroy());
    incoming.pipe(outgoing);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("connect", (incoming: IncomingMessage, client: Socket, head: Buffer) => {
    log.push(`CONNECT ${incoming.url}`);
    if (!admits(incoming)) {
      client.end("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n");
      return;
    }
    const [host = "", port] = (incoming.url ?? "").split(/:(?=\d+$)/);
    const target = connect({ ...place(host, Number(port)) }, () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      target.write(head);
      target.pipe(client);
      client.pipe(target);
    });
    target.on("error", () => {
      if (target.connecting || target.readyState !== "open") client.write("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    for (const [one, other] of [
      [target, client],
      [client, target],
    ] as const) {
      one.on("error", () => other.destroy());
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    log,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
