#include "plan.h"

#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "check_plan.h"

namespace tdse {
namespace {

constexpr char kMagic[] = "TDSEPLAN";
constexpr uint32_t kVersion = 4;
constexpr uint32_t kMaxRank = 64;
// Far above any real tensor, far below what could overflow when buffers are added up.
constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 40;

[[noreturn]] void Malformed(const std::string& why) {
  throw std::runtime_error("the executor plan is malformed: " + why);
}

// Python takes names back as text, and fails on what is not UTF-8.
bool IsUtf8(const std::string& text) {
  constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};  // by continuation bytes
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    if (lead < 0xC0 || lead >= 0xF8) return false;
    const size_t more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t code_point = lead & (0x3Fu >> more);
    for (size_t k = 0; k < more; ++k, ++i) {
      if (i == text.size() || (text[i] & 0xC0) != 0x80) return false;
      code_point = code_point << 6 | (text[i] & 0x3Fu);
    }
    const bool is_surrogate = code_point >= 0xD800 && code_point < 0xE000;
    if (code_point < kSmallest[more] || code_point > 0x10FFFF || is_surrogate) return false;
  }
  return true;
}

// A cursor that never leaves the plan.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <typename T>
  T Number() {
    static_assert(std::is_arithmetic<T>::value, "numbers only");
    Require(sizeof(T));
    T value;
    std::memcpy(&value, data_ + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string String() {
    const uint32_t length = Number<uint32_t>();
    Require(length);
    std::string text(reinterpret_cast<const char*>(data_ + position_), length);
    position_ += length;
    if (!IsUtf8(text)) Malformed("a name is not text");
    return text;
  }

  // The length of a list whose entries take at least `entry_bytes` each, so that a damaged length
  // cannot make the parser reserve more memory than the plan could fill.
  uint32_t Count(size_t entry_bytes) {
    const uint32_t count = Number<uint32_t>();
    if (count > (size_ - position_) / entry_bytes) Malformed("it ends too early");
    return count;
  }

  // Of tensors, lanes or CPUs.
  std::vector<uint32_t> Ids() {
    std::vector<uint32_t> ids(Count(sizeof(uint32_t)));
    for (uint32_t& id : ids) id = Number<uint32_t>();
    return ids;
  }

  Blob Bytes(uint64_t length) {
    const size_t padding = (kBlobAlignment - position_ % kBlobAlignment) % kBlobAlignment;
    Require(padding);
    position_ += padding;
    Require(length);
    Blob blob{data_ + position_, static_cast<size_t>(length)};
    position_ += length;
    return blob;
  }

  size_t remaining() const { return size_ - position_; }

 private:
  void Require(uint64_t bytes) const {
    if (bytes > size_ - position_) Malformed("it ends too early");
  }

  const uint8_t* data_;
  size_t size_;
  size_t position_ = 0;
};

size_t SizeBytes(const PlanTensor& tensor) {
  uint64_t bytes = tensor.dtype.bits / 8;
  bool is_empty = false;
  for (int64_t dim : tensor.shape) {
    if (dim < 0) Malformed("tensor '" + tensor.name + "' has a negative dimension");
    is_empty = is_empty || dim == 0;
    const uint64_t factor = dim == 0 ? 1 : static_cast<uint64_t>(dim);
    if (bytes > kMaxTensorBytes / factor) Malformed("tensor '" + tensor.name + "' is too large");
    bytes *= factor;
  }
  return is_empty ? 0 : static_cast<size_t>(bytes);
}

PlanTensor ReadTensor(Reader* reader) {
  PlanTensor tensor;
  tensor.name = reader->String();
  tensor.dtype.code = reader->Number<uint8_t>();
  tensor.dtype.bits = reader->Number<uint8_t>();
  tensor.dtype.lanes = reader->Number<uint16_t>();
  if (TypeName(tensor.dtype).empty()) {
    Malformed("tensor '" + tensor.name + "' has an element type that it cannot have");
  }
  const uint32_t rank = reader->Count(sizeof(int64_t));
  if (rank > kMaxRank) Malformed("tensor '" + tensor.name + "' has too many dimensions");
  tensor.shape.resize(rank);
  for (int64_t& dim : tensor.shape) dim = reader->Number<int64_t>();
  tensor.constant_blob = reader->Number<int32_t>();
  tensor.size_bytes = SizeBytes(tensor);
  return tensor;
}

PlanLane ReadLane(Reader* reader) {
  PlanLane lane;
  lane.name = reader->String();
  lane.cpus = reader->Ids();
  lane.spin_us = reader->Number<uint32_t>();
  lane.timeout_ms = reader->Number<uint32_t>();
  return lane;
}

PlanRegion ReadRegion(Reader* reader) {
  PlanRegion region;
  region.name = reader->String();
  region.kind = reader->String();
  region.threads = reader->Number<uint32_t>();
  region.blob = reader->Number<int32_t>();
  region.lanes = reader->Ids();
  region.inputs = reader->Ids();
  region.outputs = reader->Ids();
  region.steps.resize(reader->Count(3 * sizeof(uint32_t)));
  for (PlanStep& step : region.steps) {
    step.symbol = reader->String();
    step.arguments = reader->Ids();
    step.iterations = reader->Number<uint32_t>();
  }
  return region;
}

}  // namespace

Plan ParsePlan(const uint8_t* data, size_t size) {
  constexpr size_t kMagicBytes = sizeof(kMagic) - 1;
  if (size < kMagicBytes || std::memcmp(data, kMagic, kMagicBytes) != 0) {
    Malformed("it does not start with " + std::string(kMagic));
  }
  Reader reader(data, size);
  reader.Number<uint64_t>();  // the magic
  const uint32_t version = reader.Number<uint32_t>();
  if (version != kVersion) {
    throw std::runtime_error("the executor plan has version " + std::to_string(version) +
                             ", this library reads version " + std::to_string(kVersion));
  }

  Plan plan;
  plan.blobs.resize(reader.Count(sizeof(uint64_t)));
  for (Blob& blob : plan.blobs) blob.size = reader.Number<uint64_t>();
  for (Blob& blob : plan.blobs) blob = reader.Bytes(blob.size);

  constexpr size_t kSmallestTensor = 16;  // two u32, four bytes of type, one i32
  plan.tensors.resize(reader.Count(kSmallestTensor));
  for (PlanTensor& tensor : plan.tensors) tensor = ReadTensor(&reader);
  plan.inputs = reader.Ids();
  plan.outputs = reader.Ids();
  constexpr size_t kSmallestLane = 16;  // four 32-bit fields
  plan.lanes.resize(reader.Count(kSmallestLane));
  for (PlanLane& lane : plan.lanes) lane = ReadLane(&reader);
  plan.items_per_lane = reader.Number<uint32_t>();
  constexpr size_t kSmallestRegion = 32;  // eight 32-bit fields
  plan.regions.resize(reader.Count(kSmallestRegion));
  for (PlanRegion& region : plan.regions) region = ReadRegion(&reader);
  if (reader.remaining() != 0) Malformed("bytes follow its end");
  CheckPlan(plan);
  return plan;
}

DLDevice PlanRegion::device() const {
  constexpr DLDevice kHost = {kDLCPU, 0};
  const size_t colon = kind.find(':');
  const std::string name = kind.substr(0, colon);
  const DLDeviceType type = name == "opencl" ? kDLOpenCL : name == "cuda" ? kDLCUDA : kDLCPU;
  if (colon == std::string::npos) return {type, 0};
  const std::string number = kind.substr(colon + 1);
  const bool is_number = !number.empty() && number.size() < 4 &&
                         number.find_first_not_of("0123456789") == std::string::npos;
  return type != kDLCPU && is_number ? DLDevice{type, std::stoi(number)} : kHost;
}

std::string TypeName(DLDataType dtype) {
  if (dtype.lanes != 1) return "";
  const std::string bits = std::to_string(dtype.bits);
  const bool is_integer_size =
      dtype.bits == 8 || dtype.bits == 16 || dtype.bits == 32 || dtype.bits == 64;
  switch (dtype.code) {
    case kDLInt:
      return is_integer_size ? "int" + bits : "";
    case kDLUInt:
      return is_integer_size ? "uint" + bits : "";
    case kDLFloat:
      return is_integer_size && dtype.bits != 8 ? "float" + bits : "";
    case kDLBfloat:
      return dtype.bits == 16 ? "bfloat16" : "";
    case kDLBool:
      return dtype.bits == 8 ? "bool" : "";
    default:
      return "";
  }
}

}  // namespace tdse
