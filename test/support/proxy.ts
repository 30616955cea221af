/** A reverse proxy: it takes or keeps a prefix, and adds the client's address as proxies do. */
import { createServer, type Server, request as send } from "node:http";
import type { AddressInfo } from "node:net";

export interface ReverseProxy {
  readonly url: string;
  close(): void;
}

export interface ProxyOptions {
  /** Paths below it go to the service, all others get 502. */
  readonly prefix: string;
  /** Whether the service gets the path without the prefix. */
  readonly strip: boolean;
  /** Address of the service, without a path. */
  readonly target: string;
  /** Address that the proxy reports. Default the connection's. */
  readonly client?: string;
}

export async function proxyTo({ prefix, strip, target, client }: ProxyOptions): Promise<ReverseProxy> {
  const server: Server = createServer((request, response) => {
    const url = request.url ?? "/";
    if (url !== prefix && !url.startsWith(`${prefix}/`) && !url.startsWith(`${prefix}?`)) {
      response.writeHead(502).end("no such application");
      return;
    }
    const before = request.headers["x-forwarded-for"];
    const address = client ?? request.socket.remoteAddress;
    const headers = {
      ...request.headers,
      "x-forwarded-for": before === undefined ? address : `${before}, ${address}`,
    };
    const path = strip ? url.slice(prefix.length) || "/" : url;
    const onward = send(target, { path, method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
