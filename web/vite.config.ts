import { defineConfig } from "vite";

export default defineConfig({
  // Paths relative to the page, so that it may be served below another path.
  base: "./",
  build: {
    outDir: "../dist/web",
    emptyOutDir: true,
    target: "es2022",
    // Everything is a file of its own: the page's policy allows no data: scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
