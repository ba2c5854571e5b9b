// Calls the kernels on synthetic Gaussians and writes all results to a file, so that instruction sets and processors can be
// compared. Usage: run_library SIMD FILE. It is a separate program because the emulated processors have no Python.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <string>
#include <vector>

#include "kernels.h"

extern "C" {
const char* stillsplat_simd();
int stillsplat_set_simd(const char*);
void* stillsplat_frame_new();
void stillsplat_frame_free(void*);
void stillsplat_set_saved_limit(int64_t);
int stillsplat_forward(void*, const Scene*, const Outputs*);
int stillsplat_backward(void*, const Scene*, const Outputs*, const Gradients*);
int stillsplat_loss(const Loss*, double*);
void stillsplat_adam(const AdamGroup*, int64_t);
}

typedef std::vector<float> Floats;
const int N = 1003, WIDTH = 101, HEIGHT = 75, PIXELS = WIDTH * HEIGHT;
uint64_t state;
FILE* file;

// The same numbers on every machine (xorshift, Marsaglia 2003).
float uniform() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (float)((state >> 40) * (1.0 / 16777216.0));
}
float normal() {
  float sum = 0.0f;
  for (int k = 0; k < 12; k++) sum += uniform();
  return sum - 6.0f;
}
Floats filled(size_t count, float (*number)()) {
  Floats values(count);
  for (float& value : values) value = number();
  return values;
}

// Writes name and values, each after its length.
void write_values(const std::string& name, const Floats& values) {
  const int32_t letters = (int32_t)name.size();
  const int64_t count = (int64_t)values.size();
  fwrite(&letters, sizeof letters, 1, file);
  fwrite(name.data(), 1, name.size(), file);
  fwrite(&count, sizeof count, 1, file);
  fwrite(values.data(), sizeof(float), values.size(), file);
}

// Contiguous over Gaussians or over coefficients and components.
Strided view(Floats& values, int terms, int components, bool by_gaussian) {
  if (by_gaussian) return {values.data(), 1, (int64_t)components * N, N, GROUP};
  return {values.data(), (int64_t)terms * components, components, 1, (int64_t)GROUP * terms * components};
}

struct Gaussians {
  Floats means, rotations, scales, opacities, sh, screen;
};

Gaussians make_gaussians(bool by_gaussian) {
  Gaussians g = {Floats(3 * N), Floats(4 * N), Floats(3 * N), Floats(N), Floats(48 * N), Floats(2 * N)};
  auto set_numbers = [&](Floats& values, int i, int components, auto number) {
    for (int c = 0; c < components; c++) values[by_gaussian ? (size_t)c * N + i : (size_t)i * components + c] = number(c);
  };
  for (int i = 0; i < N; i++) {
    const float z = 1.5f + 3.0f * uniform(), x = (uniform() - 0.5f) * 1.3f * z, y = (uniform() - 0.5f) * 0.9f * z;
    set_numbers(g.means, i, 3, [&](int c) { return c == 0 ? x : c == 1 ? y : i % 50 ? z : -z; });
    set_numbers(g.rotations, i, 4, [](int) { return normal(); });
    set_numbers(g.scales, i, 3, [](int) { return -3.5f + 0.6f * normal(); });
    set_numbers(g.opacities, i, 1, [](int) { return 1.5f * normal(); });
    set_numbers(g.sh, i, 48, [](int) { return 0.2f * normal(); });
    set_numbers(g.screen, i, 2, [](int) { return 0.1f * normal(); });
  }
  return g;
}

Scene make_scene(Gaussians& g, bool by_gaussian, int degree, bool antialiased) {
  Scene s = {};
  s.count = N;
  s.width = WIDTH;
  s.height = HEIGHT;
  s.sh_degree = degree;
  s.flags = FLAG_LOG_SCALES | FLAG_OPACITY_LOGITS | FLAG_CENTER_FROM_POSE | FLAG_CAMERA_GRADIENT |
            FLAG_SAVE_STATES;
  if (antialiased) s.flags |= FLAG_ANTIALIASED;
  const float R[9] = {0.98f, -0.1f, 0.17f, 0.12f, 0.986f, -0.11f, -0.156f, 0.128f, 0.979f}, t[3] = {0.05f, -0.1f, 0.2f};
  memcpy(s.rotation, R, sizeof R);
  memcpy(s.translation, t, sizeof t);
  s.fx = 90.0f;
  s.fy = 92.0f;
  s.cx = 50.0f;
  s.cy = 38.0f;
  s.near_plane = 0.01f;
  s.scale_modifier = 1.0f;
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) s.center[i] -= R[3 * k + i] * t[k];
    s.background[i] = 0.1f * (float)(i + 1);
  }
  s.means = view(g.means, 1, 3, by_gaussian);
  s.rotations = view(g.rotations, 1, 4, by_gaussian);
  s.scales = view(g.scales, 1, 3, by_gaussian);
  s.opacities = {g.opacities.data(), 1, 0, 0, GROUP};
  s.sh = view(g.sh, 16, 3, by_gaussian);
  s.screen_means = view(g.screen, 1, 2, by_gaussian);
  return s;
}

// Renders prepared Gaussians, without a backward pass.
bool run_prepared(int degree, bool antialiased) {
  state = 1234567ull + degree;
  Gaussians unused = make_gaussians(true);
  Scene s = make_scene(unused, true, degree, antialiased);
  s.flags &= ~FLAG_SAVE_STATES;
  s.screen_means = {};
  const int64_t groups = (N + GROUP - 1) / GROUP, halves = 3 * ((degree + 1) * (degree + 1) - 1);
  const int64_t bytes = 4 * PREPARED_FLOATS * GROUP + 2 * halves * GROUP;
  std::vector<char> data(groups * bytes);
  for (int64_t g = 0; g < groups; g++) {
    float* floats = (float*)(data.data() + g * bytes);
    uint16_t* half = (uint16_t*)(floats + PREPARED_FLOATS * GROUP);
    for (int l = 0; l < GROUP; l++) {
      const float z = 1.5f + 3.0f * uniform();
      floats[l] = (uniform() - 0.5f) * 1.3f * z;
      floats[GROUP + l] = (uniform() - 0.5f) * 0.9f * z;
      floats[2 * GROUP + l] = z;
      for (int k = 0; k < 9; k++) floats[(PREPARED_AXES + k) * GROUP + l] = 0.03f * normal();
      floats[PREPARED_LOG2_OPACITY * GROUP + l] = -4.0f * uniform();
      for (int k = 0; k < 3; k++) floats[(PREPARED_COLOR + k) * GROUP + l] = uniform();
      // any half below 1, including subnormal ones
      for (int k = 0; k < halves; k++) half[k * GROUP + l] = (uint16_t)(uniform() * 0x3000) | (uniform() < 0.5f ? 0x8000 : 0);
    }
  }
  s.prepared = {data.data(), bytes};
  Floats image(3 * PIXELS), alpha(PIXELS), depth(PIXELS);
  const Outputs outputs = {image.data(), alpha.data(), depth.data(), nullptr};
  void* frame = stillsplat_frame_new();
  if (stillsplat_forward(frame, &s, &outputs)) return false;
  write_values("image of prepared Gaussians", image);
  write_values("alpha of prepared Gaussians", alpha);
  write_values("depth of prepared Gaussians", depth);
  stillsplat_frame_free(frame);
  return true;
}

bool run(bool by_gaussian, int degree, bool antialiased) {
  state = 88172645463325252ull + by_gaussian;
  Gaussians g = make_gaussians(by_gaussian);
  const Scene s = make_scene(g, by_gaussian, degree, antialiased);
  Floats image(3 * PIXELS), alpha(PIXELS), depth(PIXELS);
  std::vector<int32_t> radii(N);
  const Outputs outputs = {image.data(), alpha.data(), depth.data(), radii.data()};
  void* frame = stillsplat_frame_new();
  stillsplat_set_saved_limit(by_gaussian ? 512 << 20 : 0);  // once with saved alphas, once with alphas that are computed again
  if (stillsplat_forward(frame, &s, &outputs)) return false;
  const Floats d_image = filled(3 * PIXELS, normal), d_alpha = filled(PIXELS, normal), d_depth = filled(PIXELS, normal);
  Gaussians d = {Floats(3 * N), Floats(4 * N), Floats(3 * N), Floats(N), Floats(48 * N), Floats(2 * N)};
  double camera[16] = {};
  Gradients gradients = {};
  gradients.image = d_image.data();
  gradients.alpha = d_alpha.data();
  gradients.depth = d_depth.data();
  gradients.means = view(d.means, 1, 3, by_gaussian);
  gradients.rotations = view(d.rotations, 1, 4, by_gaussian);
  gradients.scales = view(d.scales, 1, 3, by_gaussian);
  gradients.opacities = {d.opacities.data(), 1, 0, 0, GROUP};
  gradients.sh = view(d.sh, 16, 3, by_gaussian);
  gradients.screen_means = view(d.screen, 1, 2, by_gaussian);
  gradients.camera = camera;
  if (stillsplat_backward(frame, &s, &outputs, &gradients)) return false;
  write_values("image", image);
  write_values("alpha", alpha);
  write_values("depth", depth);
  write_values("radii", Floats(radii.begin(), radii.end()));
  write_values("gradient to means", d.means);
  write_values("gradient to rotations", d.rotations);
  write_values("gradient to scales", d.scales);
  write_values("gradient to opacities", d.opacities);
  write_values("gradient to spherical harmonics coefficients", d.sh);
  write_values("gradient to screen positions", d.screen);
  write_values("gradient to the camera", Floats(camera, camera + 16));

  // the backward pass with a step of Adam
  Floats exp_avg[5], exp_avg_sq[5];
  const Strided parameters[5] = {s.means, s.rotations, s.scales, s.opacities, s.sh};
  const size_t sizes[5] = {3 * N, 4 * N, 3 * N, N, 48 * N};
  FusedAdam adam = {};
  for (int k = 0; k < 5; k++) {
    exp_avg[k].assign(sizes[k], 0.01f);
    exp_avg_sq[k].assign(sizes[k], 0.02f);
    adam.exp_avg[k] = adam.exp_avg_sq[k] = parameters[k];
    adam.exp_avg[k].data = exp_avg[k].data();
    adam.exp_avg_sq[k].data = exp_avg_sq[k].data();
  }
  for (int k = 0; k < 6; k++) adam.step_sizes[k] = 0.01f * (float)(k + 1);
  adam.inv_root_bias_correction2 = 1.3f;
  adam.beta1 = 0.9f;
  adam.beta2 = 0.999f;
  adam.epsilon = 1e-15f;
  adam.opacity_regularization = 0.1f;
  adam.scale_regularization = 0.2f;
  gradients.means = s.means;
  gradients.rotations = s.rotations;
  gradients.scales = s.scales;
  gradients.opacities = s.opacities;
  gradients.sh = s.sh;
  gradients.adam = &adam;
  if (stillsplat_backward(frame, &s, &outputs, &gradients)) return false;
  write_values("means", g.means);
  write_values("rotations", g.rotations);
  write_values("scales", g.scales);
  write_values("opacities", g.opacities);
  write_values("spherical harmonics coefficients", g.sh);
  write_values("exp_avg of spherical harmonics coefficients", exp_avg[4]);
  write_values("exp_avg_sq of means", exp_avg_sq[0]);

  const Floats target = filled(3 * PIXELS, uniform), l1_weight = filled(PIXELS, uniform), ssim_weight = filled(PIXELS, uniform);
  Floats d_image_of_loss(3 * PIXELS), l1_map(PIXELS), ssim_map(PIXELS);
  Loss loss = {};
  loss.image = image.data();
  loss.target = target.data();
  loss.target_channel = PIXELS;
  loss.target_row = WIDTH;
  loss.target_column = 1;
  loss.width = WIDTH;
  loss.height = HEIGHT;
  loss.l1_weight = l1_weight.data();
  loss.ssim_weight = ssim_weight.data();
  loss.l1_factor = 0.8f;
  loss.ssim_factor = 0.2f;
  loss.gradient = d_image_of_loss.data();
  loss.l1_map = l1_map.data();
  loss.ssim_map = ssim_map.data();
  double sums[2];
  if (stillsplat_loss(&loss, sums)) return false;
  write_values("sums of the loss", Floats(sums, sums + 2));
  write_values("gradient of the loss", d_image_of_loss);
  write_values("map of L1", l1_map);
  write_values("map of SSIM", ssim_map);

  Floats parameter = filled(N, normal), moment = filled(N, normal), square(N, 0.1f);
  const Floats gradient = filled(N, normal);
  AdamGroup group = {parameter.data(), gradient.data(), moment.data(), square.data(), nullptr, N, N,
                     0.1f,             1.2f,            0.9f,          0.999f,        1e-15f};
  stillsplat_adam(&group, 1);
  write_values("parameters after Adam", parameter);
  return true;
}

int main(int, char** argv) {
  if (!stillsplat_set_simd(argv[1])) return 2;
  file = fopen(argv[2], "wb");
  for (int by_gaussian = 0; by_gaussian < 2; by_gaussian++)
    for (int degree = 0; degree < 4; degree += 3)
      for (int antialiased = 0; antialiased < 2; antialiased++)
        if (!run(by_gaussian, degree, antialiased) || !run_prepared(degree, antialiased)) return 3;
  fclose(file);
  puts(stillsplat_simd());
}
