// The package has an addon and worker files of its own: Next.js must load it, not bundle it.
export default { serverExternalPackages: ["soundspot"] };
