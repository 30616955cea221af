export interface Proxy {
  readonly url: string;
  /** Without credentials. */
  readonly shown: string;
  /** Of the variable that it is from. */
  readonly name: string;
}

export function proxySettings(env?: NodeJS.ProcessEnv): {
  readonly http?: Proxy;
  readonly https?: Proxy;
  readonly none: string[];
};
export function proxyFor(address: string | URL, env?: NodeJS.ProcessEnv): Proxy | undefined;
export function proxyEnvironment(env?: NodeJS.ProcessEnv): Record<string, string>;
export function fetchThroughProxy(
  url: string,
  options?: RequestInit,
  env?: NodeJS.ProcessEnv,
): Promise<Response>;
