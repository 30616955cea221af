/** The commands show their progress like the installation, which runs before anything here is compiled. */
export { Progress } from "../../scripts/progress.mjs";
