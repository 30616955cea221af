/** Worker thread of `scenes.ts`: draws the scenes it is asked for. */
import { answerRequests } from "./render-pool.js";
import { renderScene } from "./scene/scene.js";

answerRequests(renderScene);
