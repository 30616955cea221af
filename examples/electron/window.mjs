const form = document.querySelector("form");
const figure = document.querySelector("img");
const status = document.querySelector("[role=status]");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const [image, audio] = await Promise.all(["image", "audio"].map((name) => fields.get(name).arrayBuffer()));
  const { error, overlay, confidence } = await window.soundspot.localize(image, audio);
  status.textContent = error ? error.message : `confidence ${confidence.toFixed(2)}`;
  figure.hidden = !overlay;
  if (overlay) figure.src = URL.createObjectURL(new Blob([overlay], { type: "image/png" }));
});
