// The before/after slider: drag, arrow keys, and thumbnails to choose the frame.
for (const slider of document.querySelectorAll(".slider")) {
  const range = slider.querySelector("input");
  const before = slider.querySelector(".before"), after = slider.querySelector(".after");
  const show = () => slider.style.setProperty("--split", range.value + "%");
  range.addEventListener("input", show);
  slider.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && event.buttons === 0) {
      const box = slider.getBoundingClientRect();
      range.value = Math.min(100, Math.max(0, (event.clientX - box.left) / box.width * 100));
      show();
    }
  });
  const picks = [...slider.closest("section").querySelectorAll(".picks button")];
  for (const pick of picks) {
    pick.addEventListener("click", () => {
      for (const other of picks) other.setAttribute("aria-pressed", String(other === pick));
      const [here, there] = pick.querySelectorAll("img");
      before.src = here.src;
      after.src = there.src;
    });
  }
  show();
}
