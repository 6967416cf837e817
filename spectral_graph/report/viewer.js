(() => {
  addEventListener("beforeprint", () => document.querySelectorAll("details.printed").forEach((part) => { part.open = true; }));
  const viewer = document.getElementById("viewer");
  if (!viewer || !viewer.showModal) return;
  const links = [...document.querySelectorAll("a.zoom")];
  const image = document.getElementById("viewer-image");
  const caption = document.getElementById("viewer-caption");
  const key = document.getElementById("viewer-key");
  let current = 0;
  const show = (index) => {
    current = (index + links.length) % links.length;
    const small = links[current].querySelector("img");
    image.src = small.src;
    image.alt = small.alt;
    image.style.width = `min(100%, ${66 * small.getAttribute("width") / small.getAttribute("height")}vh)`;
    caption.textContent = links[current].dataset.caption;
    const lists = "key" in links[current].dataset ? links[current].closest("article").querySelectorAll(".legend") : [];
    key.replaceChildren(...[...lists].map((list) => {
      const copy = list.cloneNode(true);
      copy.querySelectorAll("[id]").forEach((part) => part.removeAttribute("id"));
      return copy;
    }));
    if (!viewer.open) viewer.showModal();
  };
  links.forEach((link, index) => link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(index);
  }));
  document.getElementById("viewer-before").addEventListener("click", () => show(current - 1));
  document.getElementById("viewer-after").addEventListener("click", () => show(current + 1));
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(current - 1);
    if (event.key === "ArrowRight") show(current + 1);
  });
  viewer.addEventListener("close", () => links[current].focus());
})();
