// SPDX-License-Identifier: MIT
#include "hostd/base/size.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ebb {
namespace {

// A fraction of a tebibyte with this many digits still fits 64 bits.
constexpr size_t kMaxFractionDigits = 6;

absl::Status Bad(std::string_view text, const char* why) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", std::string(text), "\" is not a size: ", why,
                   "; sizes are written like 256M, 1.5G or 268435456"));
}

size_t CountDigits(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  return digits;
}

// The power of 1024 of "M", "MB", "MiB" and so on; -1 for anything else.
int PowerOf(std::string suffix) {
  for (char& c : suffix) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (suffix.empty() || suffix == "b") return 0;
  constexpr std::string_view kLetters = "kmgt";
  const size_t letter = kLetters.find(suffix[0]);
  if (letter == std::string_view::npos) return -1;
  const std::string rest = suffix.substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return -1;
  return static_cast<int>(letter) + 1;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(std::string_view text) {
  std::string_view rest = text;
  const size_t whole_digits = CountDigits(rest);
  if (whole_digits == 0) return Bad(text, "it does not start with a digit");
  uint64_t whole = 0;
  for (char digit : rest.substr(0, whole_digits)) {
    if (__builtin_mul_overflow(whole, uint64_t{10}, &whole) ||
        __builtin_add_overflow(whole, static_cast<uint64_t>(digit - '0'), &whole)) {
      return Bad(text, "it is too large");
    }
  }
  rest.remove_prefix(whole_digits);

  uint64_t fraction = 0;
  uint64_t fraction_unit = 1;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    const size_t digits = CountDigits(rest);
    if (digits == 0) return Bad(text, "there is no digit after the point");
    if (digits > kMaxFractionDigits) return Bad(text, "more than 6 digits after the point");
    for (char digit : rest.substr(0, digits)) {
      fraction = fraction * 10 + static_cast<uint64_t>(digit - '0');
      fraction_unit *= 10;
    }
    rest.remove_prefix(digits);
  }

  const int power = PowerOf(std::string(rest));
  if (power < 0) return Bad(text, "the unit is none of K, M, G, T");
  if (power == 0 && fraction_unit > 1) return Bad(text, "a fraction needs a unit");
  const uint64_t unit = uint64_t{1} << (10 * power);
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(whole, unit, &bytes) ||
      __builtin_add_overflow(bytes, fraction * unit / fraction_unit, &bytes)) {
    return Bad(text, "it is too large");
  }
  return bytes;
}

std::string HumanSize(uint64_t bytes) {
  if (bytes == 0) return "0";
  constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0 of the smaller unit.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanCount(uint64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string result;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

std::string HumanMicroseconds(double us) {
  if (!(us > 0)) return "-";
  if (us < 10) return absl::StrFormat("%.1f us", us);
  if (us < 999.5) return absl::StrFormat("%.0f us", us);
  if (us < 999950) return absl::StrFormat("%.1f ms", us / 1000);
  return absl::StrFormat("%.1f s", us / 1000000);
}

std::string HumanDuration(double seconds) {
  if (!(seconds > 0)) return "0 s";
  const auto s = static_cast<uint64_t>(std::min(seconds, 1e15));
  if (s < 60) return absl::StrFormat("%d s", s);
  if (s < 3600) return absl::StrFormat("%d min", s / 60);
  if (s < 86400) return absl::StrFormat("%d h %d min", s / 3600, s / 60 % 60);
  return absl::StrFormat("%d d %d h", s / 86400, s / 3600 % 24);
}

}  // namespace ebb
