/** Worker thread of `scenes.ts`: draws the scenes it is asked for. */
import { answerRequests } from "./render-pool.js";
import { renderScene } from "./scene-renderer.js";

answerRequests(renderScene);
