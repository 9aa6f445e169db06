// Memory of large output arrays, used again.
//
// Fresh pages cost more than most operations that fill them: on the machine of the benchmarks the kernel hands out
// zeroed memory at 12 to 14 GB/s, which made integral_image of a 4K image take 13 ms where the work is 3. malloc
// returns such blocks to the system as soon as they are freed, so an array dropped in one turn of a loop is faulted in
// again in the next. Here up to kKeep bytes of freed outputs wait for one of the same size.
#pragma once

#include <cstddef>

namespace saccade::bind_numpy {

constexpr std::size_t kRecycleFrom = std::size_t{1} << 20;  // smaller blocks stay in malloc's own lists
constexpr std::size_t kKeep = std::size_t{256} << 20;

// Memory of at least `bytes`, aligned to a cache line; throws std::bad_alloc.
void* take_block(std::size_t bytes);
void give_block(void* block, std::size_t bytes) noexcept;

}  // namespace saccade::bind_numpy
