// The notes that one direction of compositing leaves for the other: see Saved.
#pragma once
#include "tile.h"

namespace {

// Of splats to blocks, by which a tile gets its room.
int64_t count_visits(const TileEntry* entries, int64_t count) {
  int64_t visits = 0;
  for (int64_t k = 0; k < count; k++) visits += __builtin_popcount(entries[k].blocks);
  return visits;
}

INLINE void note_blocks(Saved& saved, uint32_t alive) {
  memcpy(saved.notes, &alive, sizeof alive);
  saved.notes += sizeof alive;
}
INLINE uint32_t noted_blocks(Saved& saved) {
  uint32_t alive;
  memcpy(&alive, saved.notes, sizeof alive);
  saved.notes += sizeof alive;
  return alive;
}

// A block's list, and how many of it each of its vectors has walked. Copied in pieces of 16, for which there is room.
INLINE void note_list(Saved& saved, const int* walked, const uint8_t* list) {
  int most = 0;
  for (int part = 0; part < PARTS; part++) {
    most = walked[part] > most ? walked[part] : most;
    *saved.notes++ = (uint8_t)(walked[part] / TOGETHER);
  }
  for (int j = 0; j < most; j += 16) memcpy(saved.notes + j, list + j, 16);
  saved.notes += most;
}
INLINE const uint8_t* noted_list(Saved& saved, int* walked) {
  int most = 0;
  for (int part = 0; part < PARTS; part++) {
    walked[part] = *saved.notes++ * TOGETHER;
    most = walked[part] > most ? walked[part] : most;
  }
  saved.notes += most;
  return saved.notes - most;
}

}  // namespace
