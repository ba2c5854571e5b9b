// Both terms of the alignment loss, with their gradients. Compiled once per instruction set, whose name is SET.
#include "terms.h"

#include "vectors.h"

namespace {

// Pixels that are processed together, so that the data of the frame stay in the L1 and L2 caches while all its views are read.
enum { BLOCK = 1024 };

// Coordinates of a block of pixels.
struct Pixels {
  alignas(64) float u[BLOCK], v[BLOCK];

  // Sets the coordinates of the pixels from index `first` on.
  void set(int64_t first, int64_t count, int64_t width, float offset) {
    int64_t column = first % width, row = first / width;
    for (int64_t i = 0; i < count; i++) {
      u[i] = (float)column + offset;
      v[i] = (float)row + offset;
      if (++column == width) column = 0, row++;
    }
  }
};

INLINE Vector affine(const float* m, Vector x, Vector y, Vector z) { return m[0] * x + m[1] * y + m[2] * z; }

template <class Data, bool SQUARED>
void pairwise_frame(const PairwiseTerm& t, int64_t frame) {
  static thread_local Pixels at;
  alignas(64) static thread_local float local[3][BLOCK], world[3][BLOCK], point_gradient[3][BLOCK];
  const int64_t first_view = t.frame_start[frame], end_view = t.frame_start[frame + 1];
  const float* camera = t.world_from_pixel + 12 * frame;
  const float* depth = t.depth + frame * t.pixels;
  float* log_depth_gradient = t.log_depth_gradient + frame * t.pixels;
  double* pixel_gradient = t.pixel_gradient + 12 * frame;
  double loss = 0.0;
  memset(pixel_gradient, 0, 12 * sizeof(double));
  memset(t.view_gradient + 12 * first_view, 0, 12 * (end_view - first_view) * sizeof(double));

  for (int64_t first = 0; first < t.pixels; first += BLOCK) {
    const int64_t count = t.pixels - first < BLOCK ? t.pixels - first : BLOCK;
    at.set(first, count, t.width, t.pixel_offset);
    for (int64_t i = 0; i < count; i += LANES) {
      Vector d = load(depth + first + i), u = load(at.u + i), v = load(at.v + i);
      for (int r = 0; r < 3; r++) {
        Vector x = d * (camera[4 * r] * u + camera[4 * r + 1] * v + camera[4 * r + 2]);
        store(local[r] + i, x);
        store(world[r] + i, x + camera[4 * r + 3]);
        store(point_gradient[r] + i, Vector{});
      }
    }

    for (int64_t view = first_view; view < end_view; view++) {
      const float* m = t.world_from_view + 12 * view;
      const Data* x = (const Data*)t.points + view * 3 * t.pixels + first;
      const Data *y = x + t.pixels, *z = y + t.pixels;
      const Data* weight = (const Data*)t.weights + view * t.pixels + first;
      Vector total = {}, translation_sum[3] = {}, linear_sum[3][3] = {};
      for (int64_t i = 0; i < count; i += LANES) {
        Vector a = load(x + i), b = load(y + i), c = load(z + i), w = load(weight + i);
        Vector r0 = load(world[0] + i) - m[3] - affine(m, a, b, c);
        Vector r1 = load(world[1] + i) - m[7] - affine(m + 4, a, b, c);
        Vector r2 = load(world[2] + i) - m[11] - affine(m + 8, a, b, c);
        Vector square = r0 * r0 + r1 * r1 + r2 * r2;
        Vector factor;
        if (SQUARED) {
          total += w * square;
          factor = w + w;
        } else {
          square = larger(square, spread(1e-36f));
          factor = w * inverse_root(square);
          total += factor * square;
        }
        r0 *= factor;
        r1 *= factor;
        r2 *= factor;
        store(point_gradient[0] + i, load(point_gradient[0] + i) + r0);
        store(point_gradient[1] + i, load(point_gradient[1] + i) + r1);
        store(point_gradient[2] + i, load(point_gradient[2] + i) + r2);
        translation_sum[0] += r0, translation_sum[1] += r1, translation_sum[2] += r2;
        linear_sum[0][0] += r0 * a, linear_sum[0][1] += r0 * b, linear_sum[0][2] += r0 * c;
        linear_sum[1][0] += r1 * a, linear_sum[1][1] += r1 * b, linear_sum[1][2] += r1 * c;
        linear_sum[2][0] += r2 * a, linear_sum[2][1] += r2 * b, linear_sum[2][2] += r2 * c;
      }
      double* gradient = t.view_gradient + 12 * view;
      for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++) gradient[4 * r + c] -= sum(linear_sum[r][c]);
        gradient[4 * r + 3] -= sum(translation_sum[r]);
      }
      loss += sum(total);
    }

    Vector gradient[3][4] = {};
    for (int64_t i = 0; i < count; i += LANES) {
      Vector d = load(depth + first + i), u = load(at.u + i), v = load(at.v + i), along = {};
      for (int r = 0; r < 3; r++) {
        Vector g = load(point_gradient[r] + i), scaled = g * d;
        along += g * load(local[r] + i);
        gradient[r][0] += scaled * u;
        gradient[r][1] += scaled * v;
        gradient[r][2] += scaled;
        gradient[r][3] += g;
      }
      store(log_depth_gradient + first + i, along);
    }
    for (int k = 0; k < 12; k++) pixel_gradient[k] += sum(gradient[k / 4][k % 4]);
  }
  t.loss[frame] = loss;
}

template <class Data>
void flow_frame(const FlowTerm& t, int64_t frame) {
  static thread_local Pixels at;
  alignas(64) static thread_local float inverse_depth[BLOCK], inverse_depth_gradient[BLOCK];
  const int64_t first_flow = t.frame_start[frame], end_flow = t.frame_start[frame + 1];
  const float* depth = t.depth + frame * t.pixels;
  float* log_depth_gradient = t.log_depth_gradient + frame * t.pixels;
  const Vector limit = spread(t.limit), largest = spread(65504.0f), one = spread(1.0f);
  double loss = 0.0, counted = 0.0;
  memset(t.matrix_gradient + 12 * first_flow, 0, 12 * (end_flow - first_flow) * sizeof(double));

  for (int64_t first = 0; first < t.pixels; first += BLOCK) {
    const int64_t count = t.pixels - first < BLOCK ? t.pixels - first : BLOCK;
    at.set(first, count, t.width, t.pixel_offset);
    for (int64_t i = 0; i < count; i += LANES) {
      store(inverse_depth + i, 1.0f / (load(depth + first + i) + t.guard));
      store(inverse_depth_gradient + i, Vector{});
    }

    for (int64_t flow = first_flow; flow < end_flow; flow++) {
      const float* m = t.target_from_source + 12 * flow;
      const Data* across = (const Data*)t.displacement + flow * 2 * t.pixels + first;
      const Data* down = across + t.pixels;
      Vector total = {}, matrix_sum[3][4] = {};
      int64_t coordinates = 0;
      for (int64_t i = 0; i < count; i += LANES) {
        Vector u = load(at.u + i), v = load(at.v + i), rho = load(inverse_depth + i);
        Vector fx = load(across + i), fy = load(down + i);
        Vector hx = m[0] * u + m[1] * v + m[2] + m[3] * rho;
        Vector hy = m[4] * u + m[5] * v + m[6] + m[7] * rho;
        Vector hz = m[8] * u + m[9] * v + m[10] + m[11] * rho;
        Vector s = inverse(hz + t.guard);
        Vector ex = hx * s - u - fx, ey = hy * s - v - fy;
        Vector gx = larger(smaller(ex, one), -one), gy = larger(smaller(ey, one), -one);
        Vector lx = gx * (ex - 0.5f * gx), ly = gy * (ey - 0.5f * gy);
        Mask is_finite = at_most(size(fx), largest) & at_most(size(fy), largest);
        Mask keep_x = is_finite & less(lx, limit), keep_y = is_finite & less(ly, limit);
        total += where(keep_x, lx) + where(keep_y, ly);
        coordinates += lanes(keep_x) + lanes(keep_y);
        gx = where(keep_x, gx * s);
        gy = where(keep_y, gy * s);
        Vector gz = where(keep_x | keep_y, -s * (where(keep_x, gx * hx) + where(keep_y, gy * hy)));
        store(inverse_depth_gradient + i, load(inverse_depth_gradient + i) + m[3] * gx + m[7] * gy + m[11] * gz);
        matrix_sum[0][0] += gx * u, matrix_sum[0][1] += gx * v, matrix_sum[0][2] += gx, matrix_sum[0][3] += gx * rho;
        matrix_sum[1][0] += gy * u, matrix_sum[1][1] += gy * v, matrix_sum[1][2] += gy, matrix_sum[1][3] += gy * rho;
        matrix_sum[2][0] += gz * u, matrix_sum[2][1] += gz * v, matrix_sum[2][2] += gz, matrix_sum[2][3] += gz * rho;
      }
      double* gradient = t.matrix_gradient + 12 * flow;
      for (int k = 0; k < 12; k++) gradient[k] += sum(matrix_sum[k / 4][k % 4]);
      loss += sum(total);
      counted += (double)coordinates;
    }

    for (int64_t i = 0; i < count; i += LANES) {
      Vector rho = load(inverse_depth + i);
      store(log_depth_gradient + first + i, -load(inverse_depth_gradient + i) * load(depth + first + i) * rho * rho);
    }
  }
  t.loss[frame] = loss;
  t.count[frame] = counted;
}

void pairwise(const PairwiseTerm* t, int64_t frame) {
  if (t->half)
    t->squared ? pairwise_frame<uint16_t, true>(*t, frame) : pairwise_frame<uint16_t, false>(*t, frame);
  else
    t->squared ? pairwise_frame<float, true>(*t, frame) : pairwise_frame<float, false>(*t, frame);
}

void flow(const FlowTerm* t, int64_t frame) {
  t->half ? flow_frame<uint16_t>(*t, frame) : flow_frame<float>(*t, frame);
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(set) JOIN(terms_, set)
#define TEXT(set) #set
#define STRING(set) TEXT(set)

extern const Terms NAME(SET);
const Terms NAME(SET) = {STRING(SET), pairwise, flow};
