// cuda_host_harness CASE: runs one case of test_harness.py. Exit code 1 and a message when a result is wrong; what a
// sanitizer reports, it reports itself.
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness_kernels.h"

using namespace saccade::cuda;

namespace {

void expect(bool truth, const std::string& what) {
  if (!truth) throw std::logic_error("wrong: " + what);
}

void barrier() {
  for (int count : {1, 2, 31, 33, 1024}) {
    std::vector<int> values(count);
    std::iota(values.begin(), values.end(), 0);
    launch_reverse(values.data(), count);
    for (int i = 0; i < count; ++i) expect(values[i] == count - 1 - i, "reversed " + std::to_string(i));
  }
}

void shuffle() {
  std::vector<int> values(128), sums(128);
  std::iota(values.begin(), values.end(), -40);
  launch_warp_scan(values.data(), sums.data(), 4);
  for (int i = 0, sum = 0; i < 128; ++i) {
    sum = (i % 32 ? sum : 0) + values[i];
    expect(sums[i] == sum, "scan " + std::to_string(i));
  }
}

void block_sum() {
  std::vector<float> values(1000), sums(4);
  std::iota(values.begin(), values.end(), 0.0f);
  launch_block_sum(values.data(), 1000, sums.data(), 4, 256);
  expect(sums[0] == 32640.0f && sums[3] == 204972.0f, "block sums");
}

void votes() {
  std::vector<int> values(32), any_all(32);
  std::vector<unsigned> ballots(64);
  for (int i = 0; i < 32; ++i) values[i] = i % 8;
  launch_votes(values.data(), ballots.data(), any_all.data());
  for (int i = 0; i < 32; ++i) {
    expect(ballots[i] == 0xaaaaaaaau, "ballot");
    expect(ballots[32 + i] == 0x01010101u << i % 8, "match_any");
    expect(any_all[i] == (i % 2 ? 64 : 3), "any, all, reduce_add");
  }
}

void atomics() {
  std::vector<int> values(1003);
  std::vector<unsigned> bins(8);
  for (int i = 0; i < 1003; ++i) values[i] = i % 8;
  launch_histogram(values.data(), 1003, bins.data());
  for (int bin = 0; bin < 8; ++bin) expect(bins[bin] == (bin < 3 ? 126u : 125u), "bin " + std::to_string(bin));
}

void shared_is_fresh() {
  std::vector<float> seen(3);
  launch_shared_is_fresh(seen.data(), 3);
  for (float value : seen) expect(value != value, "shared memory starts as NaN in every block");
}

void missing_barrier() {
  std::vector<int> values(64);
  std::iota(values.begin(), values.end(), 0);
  launch_missing_barrier(values.data(), 64);
  bool reversed = true;
  for (int i = 0; i < 64; ++i) reversed = reversed && values[i] == 63 - i;
  expect(!reversed, "a missing barrier goes unnoticed");
}

void write_past_end() {
  auto values = std::make_unique<int[]>(100);
  launch_write_past_end(values.get(), 100);
}

void shuffle_from_outside() {
  int out[8];
  launch_shuffle_from_outside(out);
}

const std::map<std::string, std::function<void()>> kCases = {
    {"barrier", barrier},
    {"shuffle", shuffle},
    {"block_sum", block_sum},
    {"votes", votes},
    {"atomics", atomics},
    {"shared_is_fresh", shared_is_fresh},
    {"missing_barrier", missing_barrier},
    {"exit_before_barrier", launch_exit_before_barrier},
    {"different_barriers", launch_different_barriers},
    {"shuffle_from_outside", shuffle_from_outside},
    {"too_many_threads", launch_too_many_threads},
    {"write_past_end", write_past_end},
    {"write_past_shared", [] { launch_write_past_shared(16); }},
    {"write_past_dynamic_shared", [] { launch_write_past_dynamic_shared(16); }},
};

}  // namespace

int main(int argc, char** argv) {
  const auto found = kCases.find(argc > 1 ? argv[1] : "");
  if (found == kCases.end()) return std::fprintf(stderr, "no such case\n"), 2;
  try {
    found->second();
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
  return 0;
}
