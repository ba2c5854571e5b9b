// All kernels as one translation unit, which NVRTC compiles.
#include "adam.cuh"
#include "compositing.cuh"
#include "coverage.cuh"
#include "gaussian_gradients.cuh"
#include "nearest_neighbors.cuh"
#include "photometric_loss.cuh"
#include "projection.cuh"
#include "sorting.cuh"
