// Winograd's minimal filtering F(m x m, 3 x 3) in one dimension (Lavin and Gray, Fast Algorithms for Convolutional
// Neural Networks, 2015): m results from m + 2 cells with as many products. The interpolation points are 0, 1, -1 and
// infinity for m = 2, also 2, -2 for m = 4, also 1/2, -1/2 for m = 6. V is a number or a vector. The gradient of the
// weights takes the transposes of what makes the results and the weights.
#pragma once

#include "common/macros.h"

namespace saccade {

template <int M>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr int kCells = 4;
  // Cells d to what is multiplied; products m to results; weights g (three) to what multiplies.
  template <class V>
  SACCADE_HD void cells(const V* d, V* v) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }
  template <class V>
  SACCADE_HD void results(const V* m, V* y) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
  template <class V>
  SACCADE_HD void weights(const V* g, V* u) {
    u[0] = g[0];
    u[1] = (g[0] + g[1] + g[2]) * 0.5;
    u[2] = (g[0] - g[1] + g[2]) * 0.5;
    u[3] = g[2];
  }
};

template <>
struct Winograd<4> {
  static constexpr int kCells = 6;
  template <class V>
  SACCADE_HD void cells(const V* d, V* v) {
    const V a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    v[0] = 4 * d[0] - 5 * d[2] + d[4];
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + e;
    v[4] = c - e;
    v[5] = 4 * d[1] - 5 * d[3] + d[5];
  }
  template <class V>
  SACCADE_HD void results(const V* m, V* y) {
    const V s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    y[0] = m[0] + s1 + s2;
    y[1] = d1 + 2 * d2;
    y[2] = s1 + 4 * s2;
    y[3] = d1 + 8 * d2 + m[5];
  }
  template <class V>
  SACCADE_HD void weights(const V* g, V* u) {
    u[0] = g[0] * 0.25;
    u[1] = (g[0] + g[1] + g[2]) * (-1. / 6);
    u[2] = (g[0] - g[1] + g[2]) * (-1. / 6);
    u[3] = (g[0] + 2 * g[1] + 4 * g[2]) * (1. / 24);
    u[4] = (g[0] - 2 * g[1] + 4 * g[2]) * (1. / 24);
    u[5] = g[2];
  }
  // The results' gradients y to what multiplies the cells; sums of the products u to the weights' gradients (three).
  template <class V>
  SACCADE_HD void result_gradients(const V* y, V* v) {
    const V a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4 * y[2], e = 2 * y[1] + 8 * y[3];
    v[0] = y[0];
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + e;
    v[4] = c - e;
    v[5] = y[3];
  }
  template <class V>
  SACCADE_HD void weight_gradients(const V* u, V* g) {
    const V s1 = (u[1] + u[2]) * (1.F / 6), s2 = (u[3] + u[4]) * (1.F / 24);
    g[0] = u[0] * 0.25F - s1 + s2;
    g[1] = (u[2] - u[1]) * (1.F / 6) + (u[3] - u[4]) * (1.F / 12);
    g[2] = 4 * s2 - s1 + u[5];
  }
};

template <>
struct Winograd<6> {
  static constexpr int kCells = 8;
  template <class V>
  SACCADE_HD void cells(const V* d, V* v) {
    constexpr float k = 0.25F, h = 0.5F;
    const V a1 = d[2] + d[6] - 17 * k * d[4], b1 = d[1] + d[5] - 17 * k * d[3];
    const V a2 = d[6] + k * d[2] - 5 * k * d[4], b2 = h * d[1] - 5 * h * d[3] + 2 * d[5];
    const V a3 = d[6] + 4 * d[2] - 5 * d[4], b3 = 2 * d[1] - 5 * h * d[3] + h * d[5];
    v[0] = d[0] - d[6] + 21 * k * (d[4] - d[2]);
    v[1] = a1 + b1;
    v[2] = a1 - b1;
    v[3] = a2 + b2;
    v[4] = a2 - b2;
    v[5] = a3 + b3;
    v[6] = a3 - b3;
    v[7] = d[7] - d[1] + 21 * k * (d[3] - d[5]);
  }
  template <class V>
  SACCADE_HD void results(const V* m, V* y) {
    const V s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4], s3 = m[5] + m[6], d3 = m[5] - m[6];
    y[0] = m[0] + s1 + s2 + s3;
    y[1] = d1 + 2 * d2 + 0.5F * d3;
    y[2] = s1 + 4 * s2 + 0.25F * s3;
    y[3] = d1 + 8 * d2 + 0.125F * d3;
    y[4] = s1 + 16 * s2 + 0.0625F * s3;
    y[5] = d1 + 32 * d2 + 0.03125F * d3 + m[7];
  }
  template <class V>
  SACCADE_HD void weights(const V* g, V* u) {
    u[0] = g[0];
    u[1] = (g[0] + g[1] + g[2]) * (-2. / 9);
    u[2] = (g[0] - g[1] + g[2]) * (-2. / 9);
    u[3] = (g[0] + 2 * g[1] + 4 * g[2]) * (1. / 90);
    u[4] = (g[0] - 2 * g[1] + 4 * g[2]) * (1. / 90);
    u[5] = (32 * g[0] + 16 * g[1] + 8 * g[2]) * (1. / 45);
    u[6] = (32 * g[0] - 16 * g[1] + 8 * g[2]) * (1. / 45);
    u[7] = g[2];
  }
};

}  // namespace saccade
