// The structs of the C interface. One call computes one frame, so that callers can distribute frames to threads.
#pragma once
#include <stdint.h>

// Pixels are stored row by row; the center of pixel (u, v) is at (u, v) + pixel_offset. The number of pixels must be a
// multiple of 16. "data": float, or half precision if `half` is set.
struct PairwiseTerm {
  const void* points;             // data (views, 3, pixels), views sorted by frame
  const void* weights;            // data (views, pixels)
  const int64_t* frame_start;     // (frames + 1): the views of frame f are [frame_start[f], frame_start[f + 1])
  const float* world_from_pixel;  // (frames, 3, 4): maps (depth * (u, v, 1), 1) to the world
  const float* depth;             // (frames, pixels)
  const float* world_from_view;   // (views, 3, 4)
  float* log_depth_gradient;      // out (frames, pixels)
  double* pixel_gradient;         // out (frames, 3, 4)
  double* view_gradient;          // out (views, 3, 4)
  double* loss;                   // out (frames)
  int64_t pixels, width;
  float pixel_offset;
  int32_t half, squared;
};

struct FlowTerm {
  const void* displacement;          // data (flows, 2, pixels), sorted by source frame; NaN is ignored
  const int64_t* frame_start;        // (frames + 1)
  const float* target_from_source;   // (flows, 3, 4): maps ((u, v, 1), 1 / depth) to homogeneous pixels
  const float* depth;                // (frames, pixels)
  float* log_depth_gradient;         // out (frames, pixels)
  double* matrix_gradient;           // out (flows, 3, 4)
  double* loss;                      // out (frames), sums
  double* count;                     // out (frames): number of coordinates that count
  int64_t pixels, width;
  float pixel_offset;
  float limit;                       // coordinates whose loss is at least this are ignored
  float guard;                       // added to depths and to homogeneous coordinates before dividing by them
  int32_t half;
};

struct Terms {
  const char* name;
  void (*pairwise)(const PairwiseTerm*, int64_t frame);
  void (*flow)(const FlowTerm*, int64_t frame);
};

extern const Terms terms_plain, terms_avx2, terms_avx512;
