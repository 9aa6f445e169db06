// Groups of similar rectangles: OpenCV's groupRectangles.
//
// Two rectangles are similar when x, y, x + w and y + h each differ by at most
// eps (min(w1, w2) + min(h1, h2)) / 2; groups are the transitive closure. A group of more than min_neighbors members
// becomes the mean of its members, unless it lies inside a larger group's rectangle expanded by eps of its size.
// min_neighbors <= 0 leaves the list as it is.
#pragma once

#include <cstdint>
#include <vector>

namespace saccade {

struct Rectangle {
  std::int32_t x, y, w, h;
};

struct RectangleGroups {
  std::vector<Rectangle> boxes;
  std::vector<std::int32_t> counts;  // members
  std::vector<double> scores;        // largest of the members; empty without scores
};

// OpenCV's two ways to a mean: the sum times the reciprocal of the count, in one of two precisions.
enum class RectangleMean { kFloat, kDouble };

// Groups come in the order of their first members. `scores`: one for each box, or empty.
RectangleGroups group_rectangles(const std::vector<Rectangle>& boxes, const std::vector<double>& scores,
                                 std::int64_t min_neighbors, double eps, RectangleMean mean = RectangleMean::kFloat);

// Cuts off what rounding put outside the image; false where nothing is left.
bool clip_rectangle(Rectangle& box, std::int64_t width, std::int64_t height);

}  // namespace saccade
