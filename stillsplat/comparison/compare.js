// Two pictures of the chosen frame on either side of a line, and all pictures of that frame below.
const by = (id) => document.getElementById(id);
const slider = document.querySelector(".slider");
const rows = [...document.querySelectorAll(".beside")];
const show = () => {
  const row = rows[by("frame").value];
  for (const other of rows) other.hidden = other !== row;
  by("number").value = row.dataset.frame;
  const images = row.querySelectorAll("img"), names = row.querySelectorAll("figcaption");
  for (const [side, picture] of [["left", ".before"], ["right", ".after"]]) {
    slider.querySelector(picture).src = images[by(side).value].src;
    slider.querySelector(`.tag.${side}`).textContent = names[by(side).value].textContent;
  }
};
const split = () => slider.style.setProperty("--split", by("split").value + "%");
for (const id of ["left", "right", "frame"]) by(id).addEventListener("input", show);
by("split").addEventListener("input", split);
slider.addEventListener("pointermove", (event) => {
  if (event.pointerType === "mouse" && event.buttons === 0) {
    const box = slider.getBoundingClientRect();
    by("split").value = Math.min(100, Math.max(0, (event.clientX - box.left) / box.width * 100));
    split();
  }
});
show();
split();
