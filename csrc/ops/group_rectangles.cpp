#include "ops/group_rectangles.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "common/error.h"

namespace saccade {

namespace {

// Rounds half to even; beyond int32 the nearest int32.
std::int32_t round_int32(double value) {
  const double rounded = std::nearbyint(value);
  return static_cast<std::int32_t>(std::clamp(rounded, -0x1p31, 0x1p31 - 1));
}

bool similar(const Rectangle& a, const Rectangle& b, double eps) {
  const double delta = eps * (static_cast<double>(std::min(a.w, b.w)) + static_cast<double>(std::min(a.h, b.h))) * 0.5;
  const auto near = [delta](std::int64_t p, std::int64_t q) { return static_cast<double>(std::abs(p - q)) <= delta; };
  const auto right = [](const Rectangle& r) { return std::int64_t{r.x} + r.w; };
  const auto bottom = [](const Rectangle& r) { return std::int64_t{r.y} + r.h; };
  return near(a.x, b.x) && near(a.y, b.y) && near(right(a), right(b)) && near(bottom(a), bottom(b));
}

std::size_t find(std::vector<std::size_t>& parent, std::size_t i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

// The class of each rectangle, numbered by first member. Only rectangles whose left edges are within the reach of the
// one further left are compared: delta is at most that of the rectangle with itself.
std::vector<std::size_t> classes(const std::vector<Rectangle>& boxes, double eps, std::size_t& count) {
  const std::size_t n = boxes.size();
  std::vector<std::size_t> parent(n), by_x(n), label(n, n);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  std::iota(by_x.begin(), by_x.end(), std::size_t{0});
  std::stable_sort(by_x.begin(), by_x.end(), [&](std::size_t a, std::size_t b) { return boxes[a].x < boxes[b].x; });
  for (std::size_t i = 0; i < n; ++i) {
    const Rectangle& a = boxes[by_x[i]];
    const double reach = eps * (static_cast<double>(a.w) + static_cast<double>(a.h)) * 0.5;
    for (std::size_t j = i + 1; j < n; ++j) {
      const Rectangle& b = boxes[by_x[j]];
      if (static_cast<double>(std::int64_t{b.x} - a.x) > reach) break;
      if (similar(a, b, eps)) parent[find(parent, by_x[i])] = find(parent, by_x[j]);
    }
  }
  count = 0;
  std::vector<std::size_t> result(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t root = find(parent, i);
    if (label[root] == n) label[root] = count++;
    result[i] = label[root];
  }
  return result;
}

struct Group {
  std::int64_t x = 0, y = 0, w = 0, h = 0;
  std::int32_t count = 0;
  double score = -std::numeric_limits<double>::infinity();
  Rectangle mean{};
};

bool inside_larger(const Group& group, const std::vector<Group>& groups, std::int64_t min_neighbors, double eps) {
  for (const Group& other : groups) {
    if (&other == &group || other.count <= min_neighbors) continue;
    const Rectangle &r = group.mean, &o = other.mean;
    const std::int64_t dx = round_int32(o.w * eps), dy = round_int32(o.h * eps);
    if (r.x >= o.x - dx && r.y >= o.y - dy && std::int64_t{r.x} + r.w <= std::int64_t{o.x} + o.w + dx &&
        std::int64_t{r.y} + r.h <= std::int64_t{o.y} + o.h + dy &&
        (other.count > std::max(3, group.count) || group.count < 3))
      return true;
  }
  return false;
}

}  // namespace

RectangleGroups group_rectangles(const std::vector<Rectangle>& boxes, const std::vector<double>& scores,
                                 std::int64_t min_neighbors, double eps, RectangleMean mean_type) {
  require(std::isfinite(eps) && eps >= 0, "group_rectangles: eps must be finite and not negative, got ", eps);
  if (min_neighbors <= 0 || boxes.empty()) return {boxes, std::vector<std::int32_t>(boxes.size(), 1), scores};
  std::size_t count = 0;
  const std::vector<std::size_t> label = classes(boxes, eps, count);
  std::vector<Group> groups(count);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    Group& group = groups[label[i]];
    group.x += boxes[i].x, group.y += boxes[i].y, group.w += boxes[i].w, group.h += boxes[i].h;
    ++group.count;
    if (!scores.empty()) group.score = std::max(group.score, scores[i]);
  }
  for (Group& group : groups) {
    const auto mean = [&](std::int64_t sum) {
      if (mean_type == RectangleMean::kDouble) return round_int32(static_cast<double>(sum) * (1.0 / group.count));
      return round_int32(static_cast<float>(sum) * (1.f / static_cast<float>(group.count)));
    };
    group.mean = {mean(group.x), mean(group.y), mean(group.w), mean(group.h)};
  }
  RectangleGroups result;
  for (const Group& group : groups) {
    if (group.count <= min_neighbors || inside_larger(group, groups, min_neighbors, eps)) continue;
    result.boxes.push_back(group.mean);
    result.counts.push_back(group.count);
    if (!scores.empty()) result.scores.push_back(group.score);
  }
  return result;
}

bool clip_rectangle(Rectangle& box, std::int64_t width, std::int64_t height) {
  const std::int64_t right = std::min<std::int64_t>(std::int64_t{box.x} + box.w, width);
  const std::int64_t bottom = std::min<std::int64_t>(std::int64_t{box.y} + box.h, height);
  box.x = std::max(box.x, 0);
  box.y = std::max(box.y, 0);
  box.w = static_cast<std::int32_t>(right - box.x);
  box.h = static_cast<std::int32_t>(bottom - box.y);
  return box.w > 0 && box.h > 0;
}

}  // namespace saccade
