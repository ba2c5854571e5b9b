// Memory in large pages, where the system has them. An iteration reads hundreds of memory streams; with small pages,
// address translation in a virtual machine takes longer than the reads themselves.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace stillsplat {

enum : size_t { LARGE_PAGE = (size_t)2 << 20 };

// Requests large pages for the given memory, and moves it there at once where the system can.
inline void prefer_large_pages(void* memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  const uintptr_t begin = ((uintptr_t)memory + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
  const uintptr_t end = ((uintptr_t)memory + bytes) / LARGE_PAGE * LARGE_PAGE;
  if (end <= begin) return;
  if (madvise((void*)begin, end - begin, MADV_HUGEPAGE) != 0) return;
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1: moves what already is in small pages
#endif
  madvise((void*)begin, end - begin, MADV_COLLAPSE);
#else
  (void)memory;
  (void)bytes;
#endif
}

// Memory to be freed by free(); null if there is not enough.
inline void* allocate(size_t bytes) {
  const bool large = bytes >= 2 * LARGE_PAGE;
  void* memory = nullptr;
  if (posix_memalign(&memory, large ? (size_t)LARGE_PAGE : 64, bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  if (large) madvise(memory, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#endif
  return memory;
}

}  // namespace stillsplat
