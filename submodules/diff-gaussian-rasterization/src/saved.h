// Writing and reading of the lists that the forward pass of a tile saves for its backward pass; Saved in kernels.h
// describes the format.
#pragma once
#include "tile.h"

namespace {

// Visits (a splat composited over a 4x4 block) of a tile, which determine how much memory it needs.
int64_t count_visits(const TileEntry* entries, int64_t count) {
  int64_t visits = 0;
  for (int64_t k = 0; k < count; k++) visits += __builtin_popcount(entries[k].blocks);
  return visits;
}

INLINE void append_blocks(Saved& saved, uint32_t alive) {
  memcpy(saved.lists, &alive, sizeof alive);
  saved.lists += sizeof alive;
}
INLINE uint32_t read_blocks(Saved& saved) {
  uint32_t alive;
  memcpy(&alive, saved.lists, sizeof alive);
  saved.lists += sizeof alive;
  return alive;
}

// A block's list and how many of its entries each vector of the block processed. The list is copied in pieces of 16
// bytes; list_bytes_to_save leaves room for the last piece.
INLINE void append_list(Saved& saved, const int* processed, const uint8_t* list) {
  int most = 0;
  for (int part = 0; part < PARTS; part++) {
    most = processed[part] > most ? processed[part] : most;
    *saved.lists++ = (uint8_t)(processed[part] / TOGETHER);
  }
  for (int j = 0; j < most; j += 16) memcpy(saved.lists + j, list + j, 16);
  saved.lists += most;
}
INLINE const uint8_t* read_list(Saved& saved, int* processed) {
  int most = 0;
  for (int part = 0; part < PARTS; part++) {
    processed[part] = *saved.lists++ * TOGETHER;
    most = processed[part] > most ? processed[part] : most;
  }
  saved.lists += most;
  return saved.lists - most;
}

}  // namespace
