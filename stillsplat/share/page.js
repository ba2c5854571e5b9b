// Starts the viewer of splats and the video with its split.

"use strict";

function decoded(id) {
  const text = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function startSplats() {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("splats"), place = document.getElementById("place");
  canvas.style.aspectRatio = scene.cameras[0].size.join(" / ");
  try {
    window.splatViewer = new SplatViewer(canvas, new Uint32Array(decoded("splat-bytes").buffer), scene);
  } catch (error) {
    const problem = document.getElementById("problem");
    problem.textContent = `The splats cannot be drawn here: ${error.message}`;
    problem.hidden = false;
    return;
  }
  place.addEventListener("input", () => window.splatViewer.showFrame(Number(place.value)));
  document.getElementById("home").addEventListener("click", () => {
    place.value = 0;
    window.splatViewer.showFrame(0);
  });
}

function startClip() {
  const canvas = document.getElementById("clip");
  if (!canvas) return;
  const context = canvas.getContext("2d"), split = document.getElementById("split");
  const play = document.getElementById("play"), video = document.createElement("video");
  Object.assign(video, {muted: true, loop: true, playsInline: true});
  video.src = URL.createObjectURL(new Blob([decoded("clip-bytes")], {type: "video/mp4"}));
  video.addEventListener("loadedmetadata", () => {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight / 2;
    canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  });
  const draw = () => {
    const {width, height} = canvas, at = Math.round(width * split.value / 1000);
    if (video.readyState >= 2) {
      context.drawImage(video, 0, height, width, height, 0, 0, width, height);
      if (at > 0) context.drawImage(video, 0, 0, at, height, 0, 0, at, height);
      context.fillStyle = "#fff";
      context.fillRect(at - 1, 0, 2, height);
    }
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
  const toggle = () => { if (video.paused) video.play().catch(() => {}); else video.pause(); };
  video.addEventListener("play", () => { play.textContent = "Pause"; });
  video.addEventListener("pause", () => { play.textContent = "Play"; });
  play.addEventListener("click", toggle);
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    split.value = Math.round((event.clientX - box.left) / box.width * 1000);
  };
  canvas.addEventListener("pointerdown", drag);
  canvas.addEventListener("pointermove", drag);
  window.clipVideo = video;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) toggle();
}

startSplats();
startClip();
