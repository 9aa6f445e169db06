// Stable radix sort of (key, index) pairs, ascending, least significant digit first. Bits in which all keys agree are
// passed over: 80 class labels in 64 bits take one pass.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "common/scratch.h"

namespace saccade {

template <class Key>
struct Keyed {
  Key key;
  std::uint32_t index;
};

// Sorts items[0, n); `spare` has room for n too. Returns whichever of the two holds the result.
template <int kBits, class Key>
Keyed<Key>* radix_sort_digits(Keyed<Key>* items, Keyed<Key>* spare, std::int64_t n) {
  constexpr int kPasses = (static_cast<int>(sizeof(Key)) * 8 + kBits - 1) / kBits;
  constexpr std::uint32_t kDigits = 1u << kBits;
  Key varying = 0;
  for (std::int64_t i = 0; i < n; ++i) varying |= items[i].key ^ items[0].key;
  int shifts[kPasses], passes = 0;
  for (; varying != 0; varying &= ~(static_cast<Key>(kDigits - 1) << shifts[passes++]))
    shifts[passes] = std::countr_zero(varying);
  const auto digit = [&shifts](Key key, int pass) {
    return static_cast<std::uint32_t>(key >> shifts[pass]) & (kDigits - 1);
  };

  const Scratch<std::uint32_t> table(static_cast<std::size_t>(passes) * kDigits);
  std::memset(table.data(), 0, table.size() * sizeof(std::uint32_t));
  for (std::int64_t i = 0; i < n; ++i)
    for (int pass = 0; pass < passes; ++pass) ++table[pass * kDigits + digit(items[i].key, pass)];
  for (int pass = 0; pass < passes; ++pass) {
    std::uint32_t* next = table.data() + pass * kDigits;
    std::uint32_t sum = 0;
    for (std::uint32_t d = 0; d < kDigits; ++d) sum += std::exchange(next[d], sum);
    for (std::int64_t i = 0; i < n; ++i) spare[next[digit(items[i].key, pass)]++] = items[i];
    std::swap(items, spare);
  }
  return items;
}

template <class Key>
Keyed<Key>* radix_sort(Keyed<Key>* items, Keyed<Key>* spare, std::int64_t n) {
  // Eight-bit digits need more passes, eleven-bit ones larger tables: they break even near 4,000 items.
  return n < 4096 ? radix_sort_digits<8>(items, spare, n) : radix_sort_digits<11>(items, spare, n);
}

}  // namespace saccade
