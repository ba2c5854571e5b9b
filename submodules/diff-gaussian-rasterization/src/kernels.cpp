// The table of kernels for one instruction set. Compiled once per set: setup.py passes the compiler flags and KERNELS, the
// name of the table.
#include "kernels.h"
#include "backward_gaussians.h"
#include "backward_tile.h"
#include "forward_tile.h"
#include "projection.h"
#include "training.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

extern "C" const Kernels KERNELS = {TEXT(KERNELS), project, count_visits, forward_tile, backward_tile,
                                   backward_gaussians, loss_scratch_floats, loss_rows, adam, copy};
