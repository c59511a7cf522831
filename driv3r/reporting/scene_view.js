"use strict";
// A reconstruction in WebGL2: points, boxes and lines on a time slider. It opens when its reader does.
const POINTS = [`#version 300 es
uniform mat4 view, model; uniform float size, mode, low, high, top; in vec3 at; in vec4 rgba; out vec3 tint;
vec3 ramp(float s) { s = clamp(s, 0., 1.) * 3.;
  vec3 a = vec3(.20, .18, .52), b = vec3(.12, .56, .60), c = vec3(.45, .80, .38), d = vec3(.99, .88, .25);
  return s < 1. ? mix(a, b, s) : s < 2. ? mix(b, c, s - 1.) : mix(c, d, s - 2.); }
void main() { vec4 world = model * vec4(at, 1.); gl_Position = world.z > top ? vec4(2., 2., 2., 1.) : view * world;
  gl_PointSize = clamp(size / gl_Position.w, 1.5, 40.);
  tint = mode < .5 ? rgba.rgb : mode < 1.5 ? ramp((world.z - low) / (high - low)) : ramp(rgba.a * 1.4); }`,
`#version 300 es
precision mediump float; in vec3 tint; out vec4 color;
void main() { vec2 d = gl_PointCoord - .5; if (dot(d, d) > .25) discard; color = vec4(tint, 1.); }`];
const LINES = [`#version 300 es
uniform mat4 view; uniform vec2 screen; in vec3 a, b; in vec4 rgba; out vec4 tint;
void main() { vec4 p = view * vec4(a, 1.), q = view * vec4(b, 1.); float near = .05;
  if (p.w < near && q.w >= near) p = mix(p, q, (near - p.w) / (q.w - p.w));
  if (q.w < near && p.w >= near) q = mix(q, p, (near - q.w) / (p.w - q.w));
  if (p.w < near) { gl_Position = vec4(2., 2., 2., 1.); return; }
  vec2 along = normalize((q.xy / q.w - p.xy / p.w) * screen + 1e-6), across = vec2(-along.y, along.x);
  vec4 end = (gl_VertexID & 1) == 0 ? p : q; float side = (gl_VertexID & 2) == 0 ? -1. : 1.;
  end.xy += across * side * rgba.a * 5.1 / screen * end.w; gl_Position = end; tint = vec4(rgba.rgb, 1.); }`,
`#version 300 es
precision mediump float; in vec4 tint; out vec4 color; void main() { color = tint; }`];
const BRIGHT = [[255, 122, 60], [64, 200, 255], [255, 214, 64], [120, 235, 110], [255, 96, 160], [170, 140, 255], [80, 240, 210], [255, 160, 140]];
const CORNERS = [...Array(8).keys()].map(i => [(i & 1) - .5, (i >> 1 & 1) - .5, (i >> 2) - .5]);
const EDGES = CORNERS.flatMap((_, i) => [1, 2, 4].filter(bit => !(i & bit)).map(bit => [i, i | bit]));

async function unpack(text) {
  const packed = Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(raw.buffer).getUint32(0, true);
  const scene = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + length)));
  const n = scene.voxels, body = raw.subarray(4 + length);
  scene.at = new Uint16Array(3 * n); scene.rgba = new Uint8Array(4 * n);
  for (let axis = 0; axis < 3; axis++) for (let i = 0, sum = 0; i < n; i++) {
    sum = (sum + body[axis * n + i] + 256 * body[(3 + axis) * n + i]) & 65535; scene.at[3 * i + axis] = sum; }
  for (let c = 0; c < 4; c++) for (let i = 0; i < n; i++) scene.rgba[4 * i + c] = body[(6 + c) * n + i];
  const p = scene.object_points, rest = body.slice(10 * n);
  scene.objectAt = new Int16Array(rest.buffer, 0, 3 * p); scene.objectRgba = new Uint8Array(4 * p);
  for (let i = 0; i < p; i++) for (let c = 0; c < 3; c++) scene.objectRgba[4 * i + c] = rest[6 * p + 3 * i + c];
  for (let i = 0; i < p; i++) scene.objectRgba[4 * i + 3] = 128;
  return scene;
}

// A row (seconds, x, y, z, yaw) between two of a trace; null outside of it.
function poseAt(trace, t) {
  if (!trace.length || t < trace[0][0] - 1e-3 || t > trace[trace.length - 1][0] + 1e-3) return null;
  let i = trace.findIndex(row => row[0] >= t); if (i < 0) i = trace.length - 1;
  const b = trace[i], a = trace[Math.max(i - 1, 0)], s = b[0] > a[0] ? Math.min(1, Math.max(0, (t - a[0]) / (b[0] - a[0]))) : 1;
  const turn = Math.atan2(Math.sin(b[4] - a[4]), Math.cos(b[4] - a[4]));
  return [t, ...[1, 2, 3].map(k => a[k] + s * (b[k] - a[k])), a[4] + s * turn];
}
function placed(row, k = 1) {
  const c = Math.cos(row[4]) * k, s = Math.sin(row[4]) * k;
  return new Float32Array([c, s, 0, 0, -s, c, 0, 0, 0, 0, k, 0, row[1], row[2], row[3], 1]);
}
function boxLines(row, size, rgb, width, lift = 0) {
  const c = Math.cos(row[4]), s = Math.sin(row[4]);
  const at = CORNERS.map(e => { const x = e[0] * size[0], y = e[1] * size[1];
    return [row[1] + c * x - s * y, row[2] + s * x + c * y, row[3] + lift + e[2] * size[2]]; });
  return EDGES.map(([i, j]) => [at[i], at[j], rgb, width]);
}
function viewMatrix(eye, target, up, aspect) {
  const unit = v => { const n = Math.hypot(...v); return v.map(x => x / n); };
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const back = unit(eye.map((x, k) => x - target[k])), right = unit(cross(up, back)), top = cross(back, right);
  const f = 1 / Math.tan(.42), near = .3, far = 2000, m = [];
  for (let k = 0; k < 3; k++) m.push(f / aspect * right[k], f * top[k], -(far + near) / (far - near) * back[k], -back[k]);
  const z = -dot(back, eye);
  m.push(-f / aspect * dot(right, eye), -f * dot(top, eye), -(far + near) / (far - near) * z - 2 * far * near / (far - near), -z);
  return new Float32Array(m);
}

class SceneView {
  constructor(root, scene) {
    this.root = root; this.scene = scene; this.canvas = root.querySelector("canvas");
    this.gl = this.canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("this browser has no WebGL2");
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.part = name => root.querySelector(`[data-part=${name}]`);
    this.t = 0; this.playing = false; this.buffers();
    const z = []; for (let i = 2; i < scene.at.length; i += 3) z.push(scene.at[i]); z.sort((a, b) => a - b);
    const height = share => (z.length ? z[Math.floor(share * (z.length - 1))] : 0) * scene.step_m + scene.low[2];
    this.heights = [height(.02), height(.98) + .01];
    this.slider = this.part("time"); this.slider.max = scene.seconds; this.slider.step = Math.max(.02, scene.seconds / 400);
    this.part("cut").checked = scene.covered; this.listen(); this.behind(); this.setTime(0);
  }
  program([vertex, fragment]) {
    const gl = this.gl, program = gl.createProgram();
    [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]].forEach(([kind, text]) => {
      const shader = gl.createShader(kind); gl.shaderSource(shader, text); gl.compileShader(shader); gl.attachShader(program, shader); });
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return new Proxy(program, { get: (_, name) => name === "self" ? program : gl.getUniformLocation(program, name) });
  }
  array(program, fields) { // fields: [name, data, size, type, normalized]
    const gl = this.gl, array = gl.createVertexArray(); gl.bindVertexArray(array);
    for (const [name, data, size, type, unit] of fields) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      const at = gl.getAttribLocation(program.self, name); gl.enableVertexAttribArray(at); gl.vertexAttribPointer(at, size, type, unit, 0, 0); }
    return array;
  }
  buffers() {
    const gl = this.gl, s = this.scene; this.points = this.program(POINTS); this.lines = this.program(LINES);
    const cloud = (at, type, rgba) => this.array(this.points, [["at", at, 3, type, false], ["rgba", rgba, 4, gl.UNSIGNED_BYTE, true]]);
    this.map = cloud(s.at, gl.UNSIGNED_SHORT, s.rgba); this.objects = cloud(s.objectAt, gl.SHORT, s.objectRgba);
    this.lineArray = gl.createVertexArray(); gl.bindVertexArray(this.lineArray); this.lineBuffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    [["a", 0], ["b", 12], ["rgba", 24]].forEach(([name, offset]) => {
      const at = gl.getAttribLocation(this.lines.self, name); gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, name === "rgba" ? 4 : 3, gl.FLOAT, false, 40, offset); gl.vertexAttribDivisor(at, 1); });
    gl.enable(gl.DEPTH_TEST); gl.clearColor(.055, .063, .086, 1);
  }
  get ego() { const path = this.scene.path; return poseAt(path, this.t) || (this.t < path[0][0] ? path[0] : path[path.length - 1]); }
  behind() { this.bird = false; this.turn = Math.PI; this.pitch = .48; this.distance = 28; this.target = null; this.aim(); }
  above() { this.bird = true; this.turn = Math.PI; this.pitch = 1.55; this.distance = 60; this.target = null; this.aim(); }
  aim() { // the yaw is of the path: the car's while it is followed, as it was when it is not
    const ego = this.ego; if (!this.target || this.part("follow").checked) { this.target = [ego[1], ego[2], ego[3] + 1]; this.heading = ego[4]; } this.draw(); }
  setTime(t) {
    this.t = Math.min(this.scene.seconds, Math.max(0, t)); this.slider.value = this.t;
    this.part("clock").textContent = `${this.t.toFixed(1)} / ${this.scene.seconds.toFixed(1)} s`; this.aim(); }
  play(on) {
    this.playing = on; this.part("play").textContent = on ? "Pause" : "Play"; let last = performance.now(), start = this.t;
    if (on && this.t >= this.scene.seconds - 1e-3) start = 0;
    let t = start;
    const step = now => { if (!this.playing) return; t += Math.min(now - last, 100) / 1000; last = now;
      // Calm readers get one still a frame of the log instead of a glide.
      const shown = this.calm ? this.scene.frames.filter(s => s <= t + 1e-6).pop() || 0 : t;
      if (shown !== this.t) this.setTime(shown); if (t >= this.scene.seconds) this.play(false); else requestAnimationFrame(step); };
    if (on) requestAnimationFrame(step);
  }
  draw() { if (this.waiting) return; this.waiting = true; requestAnimationFrame(() => { this.waiting = false; this.drawNow(); }); }
  lineList() {
    const s = this.scene, list = [], shown = name => this.part(name).checked, way = (rows, rgb, width, lift) => {
      for (let i = 1; i < rows.length; i++) list.push([rows[i - 1], rows[i]].map(r => [r[1], r[2], r[3] + lift]).concat([rgb, width])); };
    if (shown("path")) way(s.path, [255, 255, 255], .5, .25);
    list.push(...boxLines(this.ego, [4.4, 1.9, 1.6], [255, 255, 255], .55, .8));
    s.tracks.forEach((track, k) => { const rgb = BRIGHT[k % BRIGHT.length], row = poseAt(track.states, this.t);
      if (shown("trails") && (row || track.states[0][0] < this.t)) way(track.states.filter(r => r[0] <= this.t).concat(row ? [row] : []), rgb, .35, 0);
      if (row && shown("boxes")) list.push(...boxLines(row, track.size.map(m => Math.max(m, .3)), rgb, .5)); });
    return new Float32Array(list.flatMap(([a, b, rgb, width]) => [...a, ...b, ...rgb.map(c => c / 255), width]));
  }
  drawNow() {
    const gl = this.gl, c = this.canvas, s = this.scene, ratio = Math.min(devicePixelRatio || 1, 2);
    const w = Math.round(c.clientWidth * ratio), h = Math.round(c.clientHeight * ratio); if (!w || !h) return;
    if (c.width !== w || c.height !== h) { c.width = w; c.height = h; }
    const yaw = this.heading + this.turn, level = Math.cos(this.pitch) * this.distance, far = Math.max(1, .85 * h / w);
    const eye = [this.target[0] + far * level * Math.cos(yaw), this.target[1] + far * level * Math.sin(yaw), this.target[2] + far * Math.sin(this.pitch) * this.distance];
    const view = viewMatrix(eye, this.target, this.pitch > 1.5 ? [-Math.cos(yaw), -Math.sin(yaw), 0] : [0, 0, 1], w / h);
    gl.viewport(0, 0, w, h); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.points.self); gl.uniformMatrix4fv(this.points.view, false, view);
    gl.uniform1f(this.points.mode, +this.part("colour").value); gl.uniform1f(this.points.low, this.heights[0]); gl.uniform1f(this.points.high, this.heights[1]);
    const size = m => gl.uniform1f(this.points.size, m * h / 2 / Math.tan(.42));
    gl.uniform1f(this.points.top, this.part("cut").checked ? this.ego[3] + s.ceiling_m : 1e6);
    if (this.part("map").checked) { size(s.voxel_m * 1.35); gl.bindVertexArray(this.map);
      gl.uniformMatrix4fv(this.points.model, false, [s.step_m, 0, 0, 0, 0, s.step_m, 0, 0, 0, 0, s.step_m, 0, ...s.low, 1]); gl.drawArrays(gl.POINTS, 0, s.voxels); }
    if (this.part("boxes").checked) { size(.2); gl.bindVertexArray(this.objects);
      for (const track of s.tracks) { const row = poseAt(track.states, this.t); if (!row) continue;
        gl.uniformMatrix4fv(this.points.model, false, placed(row, s.object_step_m)); gl.drawArrays(gl.POINTS, track.points[0], track.points[1] - track.points[0]); } }
    const data = this.lineList(); gl.useProgram(this.lines.self); gl.uniformMatrix4fv(this.lines.view, false, view); gl.uniform2f(this.lines.screen, w / ratio, h / ratio);
    gl.bindVertexArray(this.lineArray); gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer); gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, data.length / 10);
    this.root.dataset.drawn = this.t.toFixed(2);
  }
  orbit(dx, dy) { this.turn -= dx * .006; this.pitch = Math.min(1.55, Math.max(.03, this.pitch + dy * .006)); this.draw(); }
  pan(dx, dy) {
    this.part("follow").checked = false; const k = this.distance / this.canvas.clientHeight, yaw = this.heading + this.turn, c = Math.cos(yaw), s = Math.sin(yaw);
    this.target[0] += k * (s * dx - c * dy); this.target[1] += k * (-c * dx - s * dy); this.draw(); }
  zoom(factor) { this.distance = Math.min(600, Math.max(2, this.distance * factor)); this.draw(); }
  listen() {
    const c = this.canvas, held = new Map(), on = (part, kind, act) => this.part(part).addEventListener(kind, act);
    on("time", "input", () => { this.play(false); this.setTime(+this.slider.value); });
    on("play", "click", () => this.play(!this.playing)); on("behind", "click", () => this.behind()); on("above", "click", () => this.above());
    for (const name of ["map", "boxes", "trails", "path", "cut", "colour"]) on(name, "change", () => this.draw());
    on("follow", "change", () => this.aim());
    c.addEventListener("pointerdown", e => { c.setPointerCapture(e.pointerId); held.set(e.pointerId, e); c.focus({ preventScroll: true }); });
    for (const end of ["pointerup", "pointercancel"]) c.addEventListener(end, e => held.delete(e.pointerId));
    c.addEventListener("pointermove", e => { const was = held.get(e.pointerId); if (!was) return;
      const dx = e.clientX - was.clientX, dy = e.clientY - was.clientY, other = [...held.values()].find(p => p.pointerId !== e.pointerId);
      if (other) { const gap = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY); this.zoom(gap(was) / Math.max(gap(e), 1)); this.pan(dx / 2, dy / 2); }
      else if (e.shiftKey || e.buttons & 6) this.pan(dx, dy); else this.orbit(dx, dy); held.set(e.pointerId, e); });
    c.addEventListener("contextmenu", e => e.preventDefault());
    // The wheel zooms once the view has the focus; before, it scrolls the page past it.
    c.addEventListener("wheel", e => { if (document.activeElement !== c) return; e.preventDefault(); this.zoom(Math.exp(e.deltaY * .001)); }, { passive: false });
    const keys = { " ": () => this.play(!this.playing), ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), b: () => this.above(), r: () => this.behind(),
      f: () => this.part("follow").click(), "+": () => this.zoom(.85), "-": () => this.zoom(1.18), ArrowUp: () => this.orbit(0, 12), ArrowDown: () => this.orbit(0, -12) };
    this.root.addEventListener("keydown", e => { const act = keys[e.key];
      if (!act || e.ctrlKey || e.metaKey || e.altKey || e.target !== c && (e.target !== this.slider || e.key.startsWith("Arrow"))) return; e.preventDefault(); act(); });
    new ResizeObserver(() => this.draw()).observe(c);
  }
  step(way) { this.play(false); const f = this.scene.frames, i = f.reduce((best, s, k) => Math.abs(s - this.t) < Math.abs(f[best] - this.t) ? k : best, 0); this.setTime(f[Math.min(f.length - 1, Math.max(0, i + way))]); }
}

document.querySelectorAll("details.view3d").forEach(root => root.addEventListener("toggle", async () => {
  if (!root.open || root.dataset.begun) return;
  root.dataset.begun = "1";
  try { new SceneView(root, await unpack(root.querySelector("script").textContent)); }
  catch (error) { root.querySelector("[data-part=note]").textContent = `No 3D view: ${error.message}`; }
}));
