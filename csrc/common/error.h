// Errors that become Python exceptions: ValueError, TypeError, RuntimeError (csrc/README.md, "Errors").
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace saccade {

struct ValueError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
struct TypeError : std::logic_error {
  using std::logic_error::logic_error;
};

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream stream;
  stream.precision(17);
  (stream << ... << parts);
  return stream.str();
}

// The text is put together only when the rule is broken.
template <class... Parts>
void require(bool rule, const Parts&... parts) {
  if (!rule) [[unlikely]]
    throw ValueError(concat(parts...));
}

template <class... Parts>
void require_type(bool rule, const Parts&... parts) {
  if (!rule) [[unlikely]]
    throw TypeError(concat(parts...));
}

}  // namespace saccade
