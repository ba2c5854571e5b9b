// A viewer of Gaussian splats in WebGL 2: sorted by depth, drawn as quads, orbited by mouse, touch and keys.
//
// Projection after Zwicker et al., "EWA Splatting" (2002) as in Kerbl et al., "3D Gaussian Splatting" (2023): a Gaussian
// becomes an ellipse on the screen, widened by 0.3 squared pixels. packing.py describes the bytes.

"use strict";

const WORDS_EACH = 12;
const TEXELS_EACH = 3;
const TEXTURE_WIDTH = 3 * 1024;
// the nearest distance that is drawn, relative to the depth of the scene
const NEAR = 0.01;

const VERTEX_SHADER = `#version 300 es
precision highp float;
precision highp int;
uniform highp usampler2D splats;
uniform mat4 cameraFromWorld;
uniform vec3 cameraCenter;
uniform vec2 focal, size, principal;
uniform float shScale, near;
in vec2 corner;
in uint index;
out vec2 offset;
out vec4 color;

float signedByte(uint word, int shift) { return float(int(word << uint(24 - shift)) >> 24) / 127.0 * shScale; }

void main() {
  int first = int(index) * ${TEXELS_EACH};
  ivec2 place = ivec2(first % ${TEXTURE_WIDTH}, first / ${TEXTURE_WIDTH});
  uvec4 a = texelFetch(splats, place, 0);
  uvec4 b = texelFetch(splats, place + ivec2(1, 0), 0);
  uvec4 c = texelFetch(splats, place + ivec2(2, 0), 0);
  vec3 center = uintBitsToFloat(a.xyz);
  float opacity = uintBitsToFloat(a.w);
  vec3 p = (cameraFromWorld * vec4(center, 1.0)).xyz;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // outside: not drawn
  offset = vec2(0.0);
  color = vec4(0.0);
  if (p.z < near) return;

  vec3 s = exp(vec3(unpackHalf2x16(b.x), unpackHalf2x16(b.y).x));
  vec4 q = normalize(vec4(unpackSnorm2x16(b.z), unpackSnorm2x16(b.w)));
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 rotation = mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  mat3 axes = mat3(cameraFromWorld) * rotation * mat3(s.x, 0.0, 0.0, 0.0, s.y, 0.0, 0.0, 0.0, s.z);
  mat3 covariance = axes * transpose(axes);

  // far outside of the picture the linear approximation of the projection is useless, so it is taken at its rim
  vec2 low = -principal / focal - 0.15 * size / focal, high = (size - principal) / focal + 0.15 * size / focal;
  vec2 t = clamp(p.xy / p.z, low, high);
  vec3 gx = vec3(focal.x / p.z, 0.0, -focal.x * t.x / p.z);
  vec3 gy = vec3(0.0, focal.y / p.z, -focal.y * t.y / p.z);
  float xx = dot(gx, covariance * gx) + 0.3, xy = dot(gx, covariance * gy), yy = dot(gy, covariance * gy) + 0.3;
  float middle = 0.5 * (xx + yy), spread = length(vec2(0.5 * (xx - yy), xy));
  vec2 lengths = sqrt(max(vec2(middle + spread, middle - spread), 0.1));
  vec2 major = abs(xy) < 1e-9 ? (xx >= yy ? vec2(1.0, 0.0) : vec2(0.0, 1.0)) : normalize(vec2(xy, middle + spread - xx));
  if (opacity < 1.0 / 255.0) return;
  float reach = sqrt(2.0 * log(255.0 * opacity));  // where it fades below one step of an 8-bit image
  offset = corner * reach;
  vec2 pixel = focal * p.xy / p.z + principal
    + offset.x * lengths.x * major + offset.y * lengths.y * vec2(-major.y, major.x);
  gl_Position = vec4(pixel.x / size.x * 2.0 - 1.0, 1.0 - pixel.y / size.y * 2.0, 0.0, 1.0);

  vec3 d = normalize(center - cameraCenter);
  vec3 rgb = vec3(0.5) + 0.28209479177387814 * vec3(unpackHalf2x16(c.x), unpackHalf2x16(c.y).x);
  vec3 sy = vec3(signedByte(c.z, 0), signedByte(c.z, 8), signedByte(c.z, 16));
  vec3 sz = vec3(signedByte(c.z, 24), signedByte(c.w, 0), signedByte(c.w, 8));
  vec3 sx = vec3(signedByte(c.w, 16), signedByte(c.w, 24), signedByte(c.y, 16));
  rgb += 0.4886025119029199 * (-d.y * sy + d.z * sz - d.x * sx);
  color = vec4(max(rgb, 0.0), opacity);
}`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec2 offset;
in vec4 color;
out vec4 result;
void main() {
  float alpha = min(0.99, color.a * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(color.rgb * alpha, alpha);
}`;

class SplatViewer {
  // `words`: Uint32Array of packing.py; `scene`: count, sh_scale, cameras ({focal, principal, size, world_from_camera by
  // rows}), depth (distance of the point that the view turns around)
  constructor(canvas, words, scene) {
    this.canvas = canvas;
    this.scene = scene;
    this.count = scene.count;
    this.gl = canvas.getContext("webgl2", {alpha: false, antialias: false, depth: false, powerPreference: "high-performance"});
    if (!this.gl) throw new Error("This browser has no WebGL 2.");
    this.centers = new Float32Array(this.count * 3);
    const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
    for (let i = 0; i < this.count; i++)
      for (let axis = 0; axis < 3; axis++) this.centers[3 * i + axis] = floats[WORDS_EACH * i + axis];
    this.order = new Uint32Array(this.count);
    this.keys = new Uint16Array(this.count);
    this.depths = new Float32Array(this.count);
    this.words = words;
    this.prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.prepare(); this.draw(); });
    this.showFrame(0);
    this.listen();
    new ResizeObserver(() => this.ask()).observe(canvas);
  }

  prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
        throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "corner");
    gl.bindAttribLocation(program, 1, "index");
    gl.linkProgram(program);
    gl.useProgram(program);
    this.uniform = (name) => gl.getUniformLocation(program, name);

    const height = Math.max(1, Math.ceil(this.count * TEXELS_EACH / TEXTURE_WIDTH));
    const padded = new Uint32Array(TEXTURE_WIDTH * height * 4);
    padded.set(this.words);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32UI, TEXTURE_WIDTH, height, 0, gl.RGBA_INTEGER, gl.UNSIGNED_INT, padded);

    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this.indices = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.indices);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(1, 1);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 1);
    this.sortedFrom = null;
  }

  // The view of a camera of the clip.
  showFrame(index) {
    const camera = this.scene.cameras[index];
    const m = camera.world_from_camera;
    this.lens = camera;
    this.right = [m[0], m[4], m[8]];
    this.down = [m[1], m[5], m[9]];
    this.forward = [m[2], m[6], m[10]];
    const center = [m[3], m[7], m[11]];
    this.distance = this.scene.depth;
    this.target = center.map((value, axis) => value + this.distance * this.forward[axis]);
    this.up = this.down.map((value) => -value);
    this.ask();
  }

  get center() { return this.target.map((value, axis) => value - this.distance * this.forward[axis]); }

  // Turns around the target by angles in radians.
  orbit(yaw, pitch) {
    const tilt = Math.asin(Math.max(-1, Math.min(1, dot(this.forward, this.up))));
    const stays = Math.max(-1.5, Math.min(1.5, tilt + pitch)) - tilt;
    this.turn(this.up, yaw);
    this.turn(this.right, stays);
  }

  turn(axis, angle) {
    for (const name of ["right", "down", "forward"]) this[name] = rotated(this[name], axis, angle);
    this.ask();
  }

  // Shifts the view by pixels of the page.
  pan(x, y) {
    const unit = this.distance / this.pagePixels();
    this.target = this.target.map((value, i) => value - unit * (x * this.right[i] + y * this.down[i]));
    this.ask();
  }

  zoom(factor) {
    this.distance = Math.max(this.scene.depth * 0.02, Math.min(this.scene.depth * 20, this.distance * factor));
    this.ask();
  }

  // Focal length in pixels of the page.
  pagePixels() {
    const {focal, size} = this.lens;
    return focal[1] * Math.min(this.canvas.clientWidth / size[0], this.canvas.clientHeight / size[1]);
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(); });
  }

  draw() {
    const gl = this.gl, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.sort();
    const {focal, principal, size} = this.lens;
    const scale = Math.min(width / size[0], height / size[1]);
    const center = this.center, rows = [this.right, this.down, this.forward];
    const columns = [0, 1, 2].flatMap((axis) => [...rows.map((row) => row[axis]), 0]);
    gl.viewport(0, 0, width, height);
    gl.uniformMatrix4fv(this.uniform("cameraFromWorld"), false, [...columns, ...rows.map((row) => -dot(row, center)), 1]);
    gl.uniform3fv(this.uniform("cameraCenter"), center);
    gl.uniform2f(this.uniform("focal"), focal[0] * scale, focal[1] * scale);
    gl.uniform2f(this.uniform("size"), width, height);
    gl.uniform2f(this.uniform("principal"), width / 2 + (principal[0] - size[0] / 2) * scale,
      height / 2 + (principal[1] - size[1] / 2) * scale);
    gl.uniform1f(this.uniform("shScale"), this.scene.sh_scale);
    gl.uniform1f(this.uniform("near"), this.scene.depth * NEAR);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
  }

  // Farthest first, by counting 65536 steps of depth; only when the view has changed.
  sort() {
    const center = this.center, f = this.forward, from = [...center, ...f].join();
    if (from === this.sortedFrom) return;
    this.sortedFrom = from;
    const shift = dot(f, center), centers = this.centers, depths = this.depths, keys = this.keys;
    const near = this.scene.depth * NEAR;  // what is nearer is not drawn
    let low = Infinity, high = near;
    for (let i = 0; i < this.count; i++) {
      const along = f[0] * centers[3 * i] + f[1] * centers[3 * i + 1] + f[2] * centers[3 * i + 2] - shift;
      const depth = depths[i] = Math.max(along, near);
      if (depth < low) low = depth;
      if (depth > high) high = depth;
    }
    // steps of the inverse depth: finer where things are near
    const nearest = 1 / low, farthest = 1 / high, factor = 65535 / Math.max(nearest - farthest, 1e-12);
    const starts = new Uint32Array(65537);
    for (let i = 0; i < this.count; i++) {
      const key = keys[i] = Math.floor((1 / depths[i] - farthest) * factor);
      starts[key + 1]++;
    }
    for (let key = 0; key < 65536; key++) starts[key + 1] += starts[key];
    for (let i = 0; i < this.count; i++) this.order[starts[keys[i]]++] = i;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.indices);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, this.order, this.gl.DYNAMIC_DRAW);
  }

  listen() {
    const canvas = this.canvas, fingers = new Map();
    let span = 0;
    const measured = () => {
      const [a, b] = [...fingers.values()];
      return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
    };
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, {x: event.clientX, y: event.clientY, pans: event.button === 2 || event.shiftKey});
      span = measured();
      this.moved = true;
    });
    canvas.addEventListener("pointermove", (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger) return;
      const x = event.clientX - finger.x, y = event.clientY - finger.y;
      finger.x = event.clientX;
      finger.y = event.clientY;
      if (fingers.size > 1) {
        this.pan(x / fingers.size, y / fingers.size);
        const now = measured();
        if (span > 0 && now > 0) this.zoom(span / now);
        span = now;
      } else if (finger.pans) {
        this.pan(x, y);
      } else {
        this.orbit(-x * 0.006, -y * 0.006);
      }
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => { fingers.delete(event.pointerId); span = measured(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.002));
    }, {passive: false});
    const keys = {
      ArrowLeft: () => this.orbit(-0.06, 0), ArrowRight: () => this.orbit(0.06, 0),
      ArrowUp: () => this.orbit(0, -0.06), ArrowDown: () => this.orbit(0, 0.06),
      "+": () => this.zoom(0.9), "=": () => this.zoom(0.9), "-": () => this.zoom(1.1),
      "0": () => this.showFrame(0),
    };
    canvas.addEventListener("keydown", (event) => {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
  }
}

function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Rodrigues' formula, for a unit axis.
function rotated(v, axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle), along = dot(axis, v) * (1 - c);
  const cross = [axis[1] * v[2] - axis[2] * v[1], axis[2] * v[0] - axis[0] * v[2], axis[0] * v[1] - axis[1] * v[0]];
  return v.map((value, i) => value * c + cross[i] * s + axis[i] * along);
}
