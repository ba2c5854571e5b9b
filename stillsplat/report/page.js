// The before/after slider: drag, arrow keys, and thumbnails to choose the frame.
for (const slider of document.querySelectorAll(".slider")) {
  const range = slider.querySelector("input");
  const show = () => {
    slider.style.setProperty("--split", range.value + "%");
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} percent input, the rest static scene`);
  };
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
      for (const layers of slider.querySelectorAll(".layers")) {
        layers.hidden = layers.dataset.frame !== pick.dataset.frame;
      }
    });
  }
  show();
}

// The video: which part of it is shown. It starts by itself where nobody asked for less motion.
for (const player of document.querySelectorAll(".player")) {
  const video = player.querySelector("video");
  const choices = [...player.parentElement.querySelectorAll(".views input")];
  const choose = () => { player.dataset.view = choices.find((choice) => choice.checked).value; };
  for (const choice of choices) choice.addEventListener("change", choose);
  if (matchMedia("(max-width: 640px)").matches) {
    choices.find((choice) => choice.value === "static").checked = true;
  }
  choose();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const begin = (entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        video.play().catch(() => {});
      }
    };
    new IntersectionObserver(begin).observe(video);
  }
}

// On paper, only very long tables stay folded.
const folded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open], [data-stays-folded])")) {
    details.open = true;
    folded.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of folded.splice(0)) details.open = false;
});
