/** Files in a document's folder about the service that it has started last. */

/** Its process id. */
export const SERVICE = ".service";

/** The port that it listens at. */
export const PORT = ".port";
