// The structs of the C interface.
#pragma once
#include <stdint.h>

// The tracks that start in one frame, their host. A view is another frame that they were tracked into.
struct Host {
  const double* host_pixels;  // (tracks, 2): positions in the host frame
  const double* pixels;       // (views, tracks, 2): positions in the views; anything where not visible
  const uint8_t* visible;     // (views, tracks)
  const double* weights;      // (tracks)
  const int64_t* frames;      // (views)
  int64_t frame, views, tracks;
};

enum LensFamily { PINHOLE = 0, PERSPECTIVE = 1, EQUIDISTANT = 2 };

struct Cameras {
  const double* rotations;     // (frames, 3, 3), camera from world
  const double* translations;  // (frames, 3)
  const double* focals;        // (frames), pixels
  double center_x, center_y;
  double coefficient;     // of the lens
  double limit;           // where the radial function of the lens ends
  double largest_square;  // the same as a squared distance in the pinhole image
  int64_t lens;           // LensFamily
};

// The tracks of all hosts, one after the other, and how their errors count.
struct Problem {
  const Host* hosts;
  int64_t host_count;
  double scale;        // noise in pixels
  double depth_prior;  // weight that draws inverse depths to the median of their host
};

// Which row of the normal equations is what: `per_frame` (6, or 7 with a zoom) from per_frame * slots[f] on for each
// free frame f, and from `shared` on the focal length and, with a lens, its coefficient; `count` in all.
struct Unknowns {
  const int64_t* slots;  // (frames), negative: fixed
  int64_t per_frame, shared, count;
  int64_t depths;        // whether the inverse depths are unknowns too
};

// The normal equations. The rows of a host in `coupling` are those of its free views, of the host itself if it is free,
// and the shared ones; each has stride(tracks) entries.
struct System {
  double* matrix;          // (count, count)
  double* gradient;        // (count)
  double* coupling;        // coupling_size(...)
  double* curvature;       // (all tracks)
  double* depth_gradient;  // (all tracks)
};

// Known points in a frame. Rows of stride(count) entries: homogeneous position x, y, z and scale (the position is x, y, z
// over the scale), pixel x, y, and weight; the weight after the last point is 0.
struct Points {
  const double* rows;  // (7, stride(count))
  int64_t count;
};

struct Camera {
  const double* rotation;     // (3, 3), camera from world
  const double* translation;  // (3)
  double focal, center_x, center_y;  // pixels
};

struct Kernels {
  const char* name;
  void (*errors)(const Problem*, const Cameras*, const double* inverse_depths, double* out);
  double (*cost)(const Problem*, const Cameras*, const double* inverse_depths);
  void (*linearize)(const Problem*, const Cameras*, const double* inverse_depths, const Unknowns*, const System*);
  void (*eliminate)(const Problem*, const Unknowns*, const System*, double damping, double* matrix, double* gradient);
  void (*move_depths)(const Problem*, const Unknowns*, const System*, double damping, const double* step,
                      const double* inverse_depths, double* out);
  double (*resection_cost)(const Points*, const Camera*, double square);
  void (*resection_equations)(const Points*, const Camera*, double square, double* matrix, double* gradient);
};

extern const Kernels kernels_plain, kernels_avx2, kernels_avx512;

// The number of tracks, rounded up so that rows are whole vectors.
static inline int64_t stride(int64_t tracks) { return (tracks + 7) & ~(int64_t)7; }

// The number of rows of a host in the coupling.
static inline int64_t coupling_rows(const Host& host, const Unknowns& unknowns) {
  int64_t free = unknowns.slots[host.frame] >= 0;
  for (int64_t k = 0; k < host.views; k++) free += unknowns.slots[host.frames[k]] >= 0;
  return unknowns.per_frame * free + unknowns.count - unknowns.shared;
}
