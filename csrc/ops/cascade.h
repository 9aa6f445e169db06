// Cascade detection: CascadeClassifier(model).detect(images, options) -> boxes of each image.
//
// Images are uint8, (h, w) grey or (h, w, 3) RGB, of any strides. Results equal OpenCV 4.14's detectMultiScale bit for
// bit:
//  - scales f = 1, s, s^2, ... while the window fits, kept between min_size and max_size; the level of scale f is the
//  image
//    resized to round(w / f) by bilinear interpolation in 8.8 bits, its windows stand 2 pixels apart for f < 2, else 1;
//  - a window must have a standard deviation above 10 (Haar), feature values are float32 in OpenCV's order of
//  operations,
//    stage sums float64; the window behind one that the first stage rejects is stepped over;
//  - groups as in ops/group_rectangles.h, eps 0.2, clipped to the image.
// Order: raw windows by scale, then y, then x; groups by their first raw window. It depends on nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "common/tensor_view.h"
#include "ops/cascade_levels.h"
#include "ops/cascade_plan.h"
#include "ops/group_rectangles.h"

namespace saccade {

struct CascadeDetections {
  std::vector<Rectangle> boxes;
  std::vector<double> scores;        // sum of the last stage; of a group the largest
  std::vector<std::int32_t> levels;  // stages passed: all of them
};

// Immutable once made, so that any number of threads may detect with it.
class CascadeClassifier {
 public:
  explicit CascadeClassifier(CascadeModel model);  // ValueError unless check_cascade passes
  const CascadeModel& model() const { return model_; }
  const CascadeProgram& program() const { return program_; }
  std::vector<CascadeDetections> detect(const std::vector<TensorView>& images, const CascadeOptions& options) const;

 private:
  CascadeModel model_;
  CascadeProgram program_;
};

// What `detect` consists of, for other devices: its checks, the windows of a level as rectangles of the image, and the
// groups of all of them.
void check_detect(const CascadeModel& model, const std::vector<TensorView>& images, const CascadeOptions& options);
void append_boxes(const CascadeModel& model, const CascadeLevel& level, const std::vector<CascadeHit>& hits,
                  std::vector<Rectangle>& boxes, std::vector<double>& scores);
CascadeDetections group_detections(const CascadeModel& model, const std::vector<Rectangle>& boxes,
                                   const std::vector<double>& scores, std::int64_t width, std::int64_t height,
                                   std::int64_t min_neighbors);

}  // namespace saccade
