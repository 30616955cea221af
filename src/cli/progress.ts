/** Progress output, shared with the installation scripts, which run before anything here is compiled. */
export { Progress } from "../../scripts/progress.mjs";
