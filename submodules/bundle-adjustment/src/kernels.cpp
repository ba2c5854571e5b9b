// Errors, cost and normal equations of bundle adjustment. Compiled once per instruction set, whose name is SET.
#include <string.h>

#include "geometry.h"
#include "products.h"
#include "resection.h"

namespace {

// Tracks that are processed together, so that their derivatives stay in the L1 cache.
enum { BLOCK = 64, MOST_COLUMNS = 12 };


// The points of a block of tracks in a view: x / z, y / z, 1 / z, whether they are in front, and the errors in pixels.
struct BlockInView {
  alignas(64) double a[BLOCK], b[BLOCK], inverse_z[BLOCK], in_front[BLOCK], u[BLOCK], v[BLOCK], visible[BLOCK];
  alignas(64) double factor[BLOCK], by_square[BLOCK], by_coefficient[BLOCK];

  void project(const Host& host, const Cameras& cameras, const HostRays& rays, const RelativePose& pose, int64_t view,
               int64_t first, int64_t count, int64_t width) {
    read_observations(host, cameras, view, first, count, width, u, v, visible);
    const double(*r)[3] = pose.rotation, *t = pose.translation;
    const double focal = cameras.focals[host.frames[view]];
    const double *x = rays.x + first, *y = rays.y + first, *inverse_depth = rays.inverse_depth + first;
    for (int64_t i = 0; i < width; i++) {
      const double z = r[2][0] * x[i] + r[2][1] * y[i] + r[2][2] + t[2] * inverse_depth[i];
      in_front[i] = z > NEAREST ? 1.0 : 0.0;
      inverse_z[i] = 1.0 / (z > NEAREST ? z : NEAREST);
      a[i] = (r[0][0] * x[i] + r[0][1] * y[i] + r[0][2] + t[0] * inverse_depth[i]) * inverse_z[i];
      b[i] = (r[1][0] * x[i] + r[1][1] * y[i] + r[1][2] + t[1] * inverse_depth[i]) * inverse_z[i];
    }
    if (cameras.lens == PINHOLE) {
      for (int64_t i = 0; i < width; i++) {
        u[i] = focal * a[i] - u[i];
        v[i] = focal * b[i] - v[i];
      }
      return;
    }
    for (int64_t i = 0; i < width; i++) {
      const Distortion d = distortion(cameras, a[i] * a[i] + b[i] * b[i]);
      factor[i] = d.factor, by_square[i] = d.by_square, by_coefficient[i] = d.by_coefficient;
      u[i] = focal * d.factor * a[i] - u[i];
      v[i] = focal * d.factor * b[i] - v[i];
    }
  }
};

void errors(const Problem* problem, const Cameras* cameras, const double* inverse_depths, double* out) {
  HostRays rays;
  BlockInView at;
  for (int64_t h = 0; h < problem->host_count; h++) {
    const Host& host = problem->hosts[h];
    rays.set(host, *cameras, inverse_depths);
    for (int64_t k = 0; k < host.views; k++) {
      const RelativePose pose(*cameras, host.frames[k], host.frame);
      for (int64_t first = 0; first < host.tracks; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, host.tracks - first);
        at.project(host, *cameras, rays, pose, k, first, count, stride(count));
        for (int64_t i = 0; i < count; i++)
          out[first + i] = at.visible[i] != 0.0 ? sqrt(at.u[i] * at.u[i] + at.v[i] * at.v[i]) : NAN;
      }
      out += host.tracks;
    }
    inverse_depths += host.tracks;
  }
}

// The mean robust cost per observation, c^2 log(1 + r^2 / c^2) with c = 2 in units of the noise, and the prior of the
// inverse depths.
double cost(const Problem* problem, const Cameras* cameras, const double* inverse_depths) {
  HostRays rays;
  BlockInView at;
  std::vector<double> scratch;
  double total = 0.0, weight = 0.0, prior = 0.0;
  const double inverse_square = 1.0 / (4.0 * problem->scale * problem->scale);
  for (int64_t h = 0; h < problem->host_count; h++) {
    const Host& host = problem->hosts[h];
    rays.set(host, *cameras, inverse_depths);
    std::vector<RelativePose> poses;
    for (int64_t k = 0; k < host.views; k++) poses.emplace_back(*cameras, host.frames[k], host.frame);
    for (int64_t first = 0; first < host.tracks; first += BLOCK) {
      const int64_t count = std::min<int64_t>(BLOCK, host.tracks - first), width = stride(count);
      // the sum of the logarithms of a track's views is the logarithm of a product, which is kept without the 1 so that
      // small errors count; a logarithm is taken before the product can overflow
      alignas(64) double product[BLOCK] = {}, logarithm[BLOCK] = {}, seen[BLOCK] = {};
      for (int64_t k = 0; k < host.views; k++) {
        at.project(host, *cameras, rays, poses[k], k, first, count, width);
        for (int64_t i = 0; i < width; i++) {
          double one = (at.u[i] * at.u[i] + at.v[i] * at.v[i]) * inverse_square * at.visible[i];
          one = one > 1e36 ? 1e36 : one;
          product[i] += one + product[i] * one;
          seen[i] += at.visible[i];
        }
        if (k % 8 == 7 || k + 1 == host.views)
          for (int64_t i = 0; i < count; i++) {
            logarithm[i] += log1p(product[i]);
            product[i] = 0.0;
          }
      }
      for (int64_t i = 0; i < count; i++) {
        total += 4.0 * logarithm[i] * rays.weight[first + i];
        weight += seen[i] * rays.weight[first + i];
      }
    }
    if (problem->depth_prior != 0.0) {
      const double middle = std::max(median(inverse_depths, host.tracks, scratch), 1e-9);
      double sum = 0.0;
      for (int64_t t = 0; t < host.tracks; t++) {
        const double off = inverse_depths[t] / middle - 1.0;
        sum += off * off;
      }
      prior += problem->depth_prior * sum;
    }
    inverse_depths += host.tracks;
  }
  return (total + prior) / std::max(weight, 1e-9);
}

// The columns of derivatives of a block: 6 of the pose of the view; with a zoom those of the focal lengths of view and
// host; the shared focal length; with a lens its coefficient; the inverse depth; and the residual. Each has the
// derivatives of u and then those of v, weighted.
struct Columns {
  int own, both, common, depth, residual;
  alignas(64) double value[MOST_COLUMNS][2 * BLOCK];

  explicit Columns(const Unknowns& unknowns) {
    own = (int)unknowns.per_frame;
    both = own == 6 ? 6 : 8;
    common = (int)(unknowns.count - unknowns.shared);
    depth = both + common;
    residual = depth + 1;
  }

  void set(const Problem& problem, const Cameras& cameras, double focal, const HostRays& rays, const RelativePose& pose,
           const BlockInView& at, int64_t first, int64_t width) {
    const double(*r)[3] = pose.rotation, *t = pose.translation;
    const double *inverse_depth = rays.inverse_depth + first, *weight = rays.weight + first;
    const double inverse_scale = 1.0 / problem.scale, quarter = 0.25 * inverse_scale * inverse_scale;
    const double *change_x = rays.focal_x + first, *change_y = rays.focal_y + first;
    alignas(64) double scaled[BLOCK], lever[BLOCK];
    for (int64_t i = 0; i < width; i++) {
      const double a = at.a[i], b = at.b[i];
      const double squared = (at.u[i] * at.u[i] + at.v[i] * at.v[i]) * quarter;
      const double root = sqrt(weight[i] * at.visible[i] * at.in_front[i] / (1.0 + squared)) * inverse_scale;
      scaled[i] = root * focal;
      lever[i] = scaled[i] * at.inverse_z[i];
      const double s = lever[i] * inverse_depth[i], ab = scaled[i] * a * b;
      value[0][i] = s, value[0][width + i] = 0.0;
      value[1][i] = 0.0, value[1][width + i] = s;
      value[2][i] = -s * a, value[2][width + i] = -s * b;
      value[3][i] = -ab, value[3][width + i] = -scaled[i] * (1.0 + b * b);
      value[4][i] = scaled[i] * (1.0 + a * a), value[4][width + i] = ab;
      value[5][i] = -scaled[i] * b, value[5][width + i] = scaled[i] * a;
      value[depth][i] = lever[i] * (t[0] - a * t[2]), value[depth][width + i] = lever[i] * (t[1] - b * t[2]);
      value[residual][i] = root * at.u[i], value[residual][width + i] = root * at.v[i];
    }
    double* of_focal = value[both];
    through_rays(r, at, lever, change_x, change_y, width, of_focal);
    const bool lens = cameras.lens != PINHOLE;
    if (lens) {
      double* of_lens = value[both + 1];
      through_rays(r, at, lever, rays.lens_x + first, rays.lens_y + first, width, of_lens);
      for (int c = 0; c < 6; c++) distort(at, width, value[c]);
      distort(at, width, value[depth]);
      distort(at, width, of_focal);
      distort(at, width, of_lens);
      for (int64_t i = 0; i < width; i++) {
        of_lens[i] += scaled[i] * at.by_coefficient[i] * at.a[i];
        of_lens[width + i] += scaled[i] * at.by_coefficient[i] * at.b[i];
      }
    }
    if (own == 7) memcpy(value[7], of_focal, 2 * width * sizeof(double));
    for (int64_t i = 0; i < width; i++) {
      const double image = lens ? scaled[i] * at.factor[i] : scaled[i];
      const double x = image * at.a[i], y = image * at.b[i];
      of_focal[i] += x;
      of_focal[width + i] += y;
      if (own == 7) value[6][i] = x, value[6][width + i] = y;
    }
  }

 private:
  // The derivative by something that changes the rays of the host, by minus `change`.
  static void through_rays(const double (*r)[3], const BlockInView& at, const double* lever, const double* change_x,
                           const double* change_y, int64_t width, double* out) {
    for (int64_t i = 0; i < width; i++) {
      const double x = change_x[i], y = change_y[i];
      const double moved_z = r[2][0] * x + r[2][1] * y;
      out[i] = -lever[i] * (r[0][0] * x + r[0][1] * y - at.a[i] * moved_z);
      out[width + i] = -lever[i] * (r[1][0] * x + r[1][1] * y - at.b[i] * moved_z);
    }
  }

  // The change of the distorted point for a change of the pinhole point.
  static void distort(const BlockInView& at, int64_t width, double* column) {
    for (int64_t i = 0; i < width; i++) {
      const double u = column[i], v = column[width + i];
      const double along = 2.0 * at.by_square[i] * (at.a[i] * u + at.b[i] * v);
      column[i] = at.factor[i] * u + along * at.a[i];
      column[width + i] = at.factor[i] * v + along * at.b[i];
    }
  }
};

// The derivative of the columns `both` by the unknowns of the host: that of the relative pose by the pose of the host is
// minus the adjoint.
struct HostDerivative {
  double value[8][7] = {};

  HostDerivative(const RelativePose& pose, int own) {
    const double(*r)[3] = pose.rotation, *t = pose.translation;
    for (int i = 0; i < 3; i++) {
      const int next = (i + 1) % 3, after = (i + 2) % 3;
      for (int j = 0; j < 3; j++) {
        value[i][j] = value[3 + i][3 + j] = -r[i][j];
        value[i][3 + j] = -(t[next] * r[after][j] - t[after] * r[next][j]);  // of the cross product t x r
      }
    }
    if (own == 7) value[7][6] = 1.0;
  }
};

// Adds the products of the columns of a view to matrix and gradient: those of the view, of the host through its
// derivative, and of what all frames share.
void add_view(const double* product, const Columns& columns, const HostDerivative& host, int64_t view_slot,
              int64_t host_slot, const Unknowns& unknowns, const System& system) {
  const int own = columns.own, both = columns.both, common = columns.common;
  const int64_t size = unknowns.count, shared = unknowns.shared;
  auto of = [product](int i, int j) { return product[i >= j ? i * MOST_COLUMNS + j : j * MOST_COLUMNS + i]; };
  double to_host[8][7];
  for (int i = 0; i < both; i++)
    for (int j = 0; j < own; j++) {
      to_host[i][j] = 0.0;
      for (int c = 0; c < both; c++) to_host[i][j] += of(i, c) * host.value[c][j];
    }
  auto add = [&](int64_t row, int64_t column, double value) {
    system.matrix[row * size + column] += value;
    if (row != column) system.matrix[column * size + row] += value;
  };
  for (int i = 0; i < own; i++) {
    const int64_t view_row = own * view_slot + i, host_row = own * host_slot + i;
    if (view_slot >= 0) {
      for (int j = 0; j <= i; j++) add(view_row, own * view_slot + j, of(i, j));
      if (host_slot >= 0)
        for (int j = 0; j < own; j++) add(view_row, own * host_slot + j, to_host[i][j]);
      for (int j = 0; j < common; j++) add(view_row, shared + j, of(i, both + j));
      system.gradient[view_row] += of(i, columns.residual);
    }
    if (host_slot < 0) continue;
    for (int c = 0; c < both; c++) {
      const double by_host = host.value[c][i];
      if (by_host == 0.0) continue;
      for (int j = 0; j <= i; j++) add(host_row, own * host_slot + j, by_host * to_host[c][j]);
      for (int j = 0; j < common; j++) add(host_row, shared + j, by_host * of(c, both + j));
      system.gradient[host_row] += by_host * of(c, columns.residual);
    }
  }
  for (int i = 0; i < common; i++) {
    for (int j = 0; j <= i; j++) add(shared + i, shared + j, of(both + i, both + j));
    system.gradient[shared + i] += of(both + i, columns.residual);
  }
}

// Adds the products of the column of the inverse depth with the others to the rows of the coupling.
void couple(const Columns& columns, const HostDerivative& host, int64_t width, double* view_rows, double* host_rows,
            double* shared_rows, int64_t row_stride, double* curvature, double* gradient) {
  const double* depth = columns.value[columns.depth];
  auto with_depth = [&](int c, double* out) {
    const double* column = columns.value[c];
    for (int64_t i = 0; i < width; i++) out[i] = depth[i] * column[i] + depth[width + i] * column[width + i];
  };
  alignas(64) double rows[8][BLOCK], one[BLOCK];
  for (int c = 0; c < columns.both; c++) {
    with_depth(c, rows[c]);
    if (view_rows && c < columns.own) memcpy(view_rows + c * row_stride, rows[c], width * sizeof(double));
  }
  if (host_rows)
    for (int j = 0; j < columns.own; j++) {
      double* out = host_rows + j * row_stride;
      for (int c = 0; c < columns.both; c++) {
        const double by_host = host.value[c][j];
        if (by_host == 0.0) continue;
        for (int64_t i = 0; i < width; i++) out[i] += by_host * rows[c][i];
      }
    }
  auto add = [&](int c, double* out) {
    with_depth(c, one);
    for (int64_t i = 0; i < width; i++) out[i] += one[i];
  };
  for (int c = 0; c < columns.common; c++) add(columns.both + c, shared_rows + c * row_stride);
  add(columns.depth, curvature);
  add(columns.residual, gradient);
}

void linearize(const Problem* problem, const Cameras* cameras, const double* inverse_depths, const Unknowns* unknowns,
               const System* system) {
  HostRays rays;
  BlockInView at;
  Columns columns(*unknowns);
  std::vector<double> scratch, curvature, gradient;
  const int64_t size = unknowns->count, own = unknowns->per_frame;
  memset(system->matrix, 0, size * size * sizeof(double));
  memset(system->gradient, 0, size * sizeof(double));
  double* coupling = system->coupling;
  int64_t before = 0;
  for (int64_t h = 0; h < problem->host_count; h++) {
    const Host& host = problem->hosts[h];
    const int64_t width = stride(host.tracks), rows = coupling_rows(host, *unknowns);
    const int64_t host_slot = unknowns->slots[host.frame];
    rays.set(host, *cameras, inverse_depths + before);
    if (unknowns->depths) memset(coupling, 0, rows * width * sizeof(double));
    double* shared_rows = coupling + (rows - columns.common) * width;
    double* host_rows = host_slot < 0 ? nullptr : shared_rows - own * width;
    double* view_rows = coupling;
    curvature.assign(width, 0.0);
    gradient.assign(width, 0.0);
    for (int64_t k = 0; k < host.views; k++) {
      const int64_t view = host.frames[k], view_slot = unknowns->slots[view];
      const RelativePose pose(*cameras, view, host.frame);
      const HostDerivative derivative(pose, columns.own);
      double product[MOST_COLUMNS * MOST_COLUMNS] = {};
      for (int64_t first = 0; first < host.tracks; first += BLOCK) {
        const int64_t count = std::min<int64_t>(BLOCK, host.tracks - first), filled = stride(count);
        at.project(host, *cameras, rays, pose, k, first, count, filled);
        columns.set(*problem, *cameras, cameras->focals[view], rays, pose, at, first, filled);
        add_symmetric_products(columns.residual + 1, columns.value[0], 2 * BLOCK, columns.value[0], 2 * BLOCK,
                               2 * filled, product, MOST_COLUMNS);
        if (unknowns->depths)
          couple(columns, derivative, filled, view_slot < 0 ? nullptr : view_rows + first,
                 host_rows ? host_rows + first : nullptr, shared_rows + first, width, curvature.data() + first,
                 gradient.data() + first);
      }
      add_view(product, columns, derivative, view_slot, host_slot, *unknowns, *system);
      if (view_slot >= 0) view_rows += own * width;
    }
    if (unknowns->depths) {
      const double* depths = inverse_depths + before;
      const double middle = std::max(median(depths, host.tracks, scratch), 1e-9);
      for (int64_t t = 0; t < host.tracks; t++) {
        system->curvature[before + t] = curvature[t] + problem->depth_prior / (middle * middle);
        system->depth_gradient[before + t] = gradient[t] + problem->depth_prior * (depths[t] / middle - 1.0) / middle;
      }
      coupling += rows * width;
    }
    before += host.tracks;
  }
}

// The curvature of an inverse depth, damped.
inline double damped(double curvature, double damping) { return curvature * (1.0 + damping) + 1e-9; }

// The rows of the normal equations that the rows of a host in the coupling belong to.
std::vector<int64_t> places_of(const Host& host, const Unknowns& unknowns) {
  std::vector<int64_t> places;
  auto add = [&](int64_t frame) {
    if (unknowns.slots[frame] >= 0)
      for (int64_t c = 0; c < unknowns.per_frame; c++) places.push_back(unknowns.per_frame * unknowns.slots[frame] + c);
  };
  for (int64_t k = 0; k < host.views; k++) add(host.frames[k]);
  add(host.frame);
  for (int64_t c = unknowns.shared; c < unknowns.count; c++) places.push_back(c);
  return places;
}

// Matrix and gradient without the inverse depths: the Schur complement.
void eliminate(const Problem* problem, const Unknowns* unknowns, const System* system, double damping, double* matrix,
               double* gradient) {
  const int64_t size = unknowns->count;
  memcpy(matrix, system->matrix, size * size * sizeof(double));
  memcpy(gradient, system->gradient, size * sizeof(double));
  if (!unknowns->depths) return;
  std::vector<double> inverse, scaled, product;
  const double* coupling = system->coupling;
  int64_t before = 0;
  for (int64_t h = 0; h < problem->host_count; h++) {
    const Host& host = problem->hosts[h];
    const std::vector<int64_t> places = places_of(host, *unknowns);
    const int64_t width = stride(host.tracks), rows = (int64_t)places.size();
    inverse.assign(width, 0.0);
    for (int64_t t = 0; t < host.tracks; t++) inverse[t] = -1.0 / damped(system->curvature[before + t], damping);
    scaled.resize(rows * width);
    for (int64_t r = 0; r < rows; r++) {
      const double* row = coupling + r * width;
      double *out = scaled.data() + r * width, along = 0.0;
      for (int64_t t = 0; t < width; t++) out[t] = row[t] * inverse[t];
      for (int64_t t = 0; t < host.tracks; t++) along += out[t] * system->depth_gradient[before + t];
      gradient[places[r]] += along;
    }
    product.assign(rows * rows, 0.0);
    add_symmetric_products(rows, scaled.data(), width, coupling, width, width, product.data(), rows);
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < i; j++) {
        matrix[places[i] * size + places[j]] += product[i * rows + j];
        matrix[places[j] * size + places[i]] += product[i * rows + j];
      }
      matrix[places[i] * size + places[i]] += product[i * rows + i];
    }
    coupling += rows * width;
    before += host.tracks;
  }
}

// The inverse depths after the step of the other unknowns: each changes at most by a factor of 5, and stays above a
// thousandth of the median of its host.
void move_depths(const Problem* problem, const Unknowns* unknowns, const System* system, double damping, const double* step,
                 const double* inverse_depths, double* out) {
  std::vector<double> scratch, along;
  const double* coupling = system->coupling;
  int64_t before = 0;
  for (int64_t h = 0; h < problem->host_count; h++) {
    const Host& host = problem->hosts[h];
    const std::vector<int64_t> places = places_of(host, *unknowns);
    const int64_t width = stride(host.tracks);
    along.assign(width, 0.0);
    for (size_t r = 0; r < places.size(); r++) {
      const double* row = coupling + (int64_t)r * width;
      for (int64_t t = 0; t < width; t++) along[t] += step[places[r]] * row[t];
    }
    const double* depths = inverse_depths + before;
    const double floor = 1e-3 * std::max(median(depths, host.tracks, scratch), 1e-9);
    for (int64_t t = 0; t < host.tracks; t++) {
      const double change = -(system->depth_gradient[before + t] + along[t]) / damped(system->curvature[before + t], damping);
      const double least = std::max(floor, 0.2 * depths[t]), most = 5.0 * depths[t] + 10.0 * floor;
      out[before + t] = std::min(std::max(depths[t] + change, least), most);
    }
    coupling += (int64_t)places.size() * width;
    before += host.tracks;
  }
}

}  // namespace

#define JOIN(a, b) a##b
#define NAME(set) JOIN(kernels_, set)
#define TEXT(set) #set
#define STRING(set) TEXT(set)

extern const Kernels NAME(SET);
const Kernels NAME(SET) = {STRING(SET), errors,      cost,           linearize,
                           eliminate,   move_depths, resection_cost, resection_equations};
