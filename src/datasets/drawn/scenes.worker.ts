/** Worker thread of `scenes.ts`: draws the requested scenes. */
import { answerRequests } from "./render-pool.js";
import { renderScene } from "./scene/scene.js";

answerRequests(renderScene);
