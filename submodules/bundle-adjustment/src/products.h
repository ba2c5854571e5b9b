// Products of rows with rows.
#pragma once
#include <stdint.h>
#include <string.h>

namespace {

#if defined(__AVX512F__)
enum { LANES = 8 };
#elif defined(__AVX2__)
enum { LANES = 4 };
#else
enum { LANES = 2 };
#endif

typedef double Vector __attribute__((vector_size(8 * LANES)));

inline Vector load(const double* p) {
  Vector v;
  memcpy(&v, p, sizeof v);
  return v;
}

inline double sum(Vector v) {
  double total = 0.0;
  for (int i = 0; i < LANES; i++) total += v[i];
  return total;
}

// Adds to out[i][j] the products of `I` rows a with `J` rows b; `length` is a multiple of 8.
template <int I, int J>
inline void add_products(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t length, double* out,
                         int64_t out_stride) {
  Vector total[I][J] = {};
  for (int64_t n = 0; n < length; n += LANES) {
    Vector right[J];
    for (int j = 0; j < J; j++) right[j] = load(b + j * b_stride + n);
    for (int i = 0; i < I; i++) {
      const Vector left = load(a + i * a_stride + n);
      for (int j = 0; j < J; j++) total[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < I; i++)
    for (int j = 0; j < J; j++) out[i * out_stride + j] += sum(total[i][j]);
}

template <int J>
inline void add_row_products(int64_t rows, const double* a, int64_t a_stride, const double* b, int64_t b_stride,
                             int64_t length, double* out, int64_t out_stride) {
  int64_t i = 0;
  for (; i + 3 <= rows; i += 3)
    add_products<3, J>(a + i * a_stride, a_stride, b, b_stride, length, out + i * out_stride, out_stride);
  for (; i < rows; i++)
    add_products<1, J>(a + i * a_stride, a_stride, b, b_stride, length, out + i * out_stride, out_stride);
}

// Adds to the lower triangle of out (rows, rows) the products of the rows of a with those of b, whose products are
// symmetric. Some entries above the diagonal are written too.
inline void add_symmetric_products(int64_t rows, const double* a, int64_t a_stride, const double* b, int64_t b_stride,
                                   int64_t length, double* out, int64_t out_stride) {
  int64_t j = 0;
  for (; j + 4 <= rows; j += 4)
    add_row_products<4>(rows - j, a + j * a_stride, a_stride, b + j * b_stride, b_stride, length,
                        out + j * out_stride + j, out_stride);
  for (; j < rows; j++)
    add_row_products<1>(rows - j, a + j * a_stride, a_stride, b + j * b_stride, b_stride, length,
                        out + j * out_stride + j, out_stride);
}

}  // namespace
