#include "library_file.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "workspace.h"

namespace tdse {
namespace {

// What TVM's exporter names its embedded modules and prefixes functions with
// (tvm/ffi/extra/module.h).
constexpr char kLibraryBin[] = "__tvm_ffi__library_bin";
constexpr char kFunctionPrefix[] = "__tvm_ffi_";
constexpr char kThisLibrary[] = "_lib";
constexpr char kExecutorKind[] = "tdse_executor";

const char* MachineName(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86_64";
    case EM_AARCH64:
      return "aarch64";
    case EM_ARM:
      return "arm";
    case EM_386:
      return "i386";
    case EM_RISCV:
      return "riscv";
    default:
      return "another processor";
  }
}

#if defined(__x86_64__)
constexpr uint16_t kThisMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kThisMachine = EM_AARCH64;
#elif defined(__arm__)
constexpr uint16_t kThisMachine = EM_ARM;
#elif defined(__riscv)
constexpr uint16_t kThisMachine = EM_RISCV;
#else
constexpr uint16_t kThisMachine = EM_NONE;
#endif

// What the dynamic linker says of files for other processors does not name these.
void RequireOwnMachine(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::strerror(errno));
  unsigned char head[20] = {};
  file.read(reinterpret_cast<char*>(head), sizeof(head));
  if (!file || std::memcmp(head, ELFMAG, SELFMAG) != 0) {
    throw std::runtime_error("it is no shared library");
  }
  const bool is_little = head[EI_DATA] == ELFDATA2LSB;
  const auto machine =
      static_cast<uint16_t>(is_little ? head[18] | head[19] << 8 : head[19] | head[18] << 8);
  if (machine != kThisMachine) {
    throw std::runtime_error(std::string("it is for ") + MachineName(machine) +
                             ", this program is for " + MachineName(kThisMachine) +
                             "; compile the model for this board");
  }
}

// What dlerror says, without the path in front of it.
std::string WithoutPath(const std::string& reason, const std::string& path) {
  const std::string head = path + ": ";
  return reason.rfind(head, 0) == 0 ? reason.substr(head.size()) : reason;
}

// Reads what TVM has embedded: a u64 for all its bytes; the import tree, two lists of u64; then,
// for each module, its kind and, unless that is the library itself, its bytes.
class BinReader {
 public:
  explicit BinReader(const uint8_t* data) : data_(data), size_(sizeof(uint64_t)) {
    size_ += Number();
  }

  Blob Plan() {
    const size_t modules = Numbers();
    Numbers();
    for (size_t i = 0; i + 1 < modules; ++i) {
      const Blob kind = Bytes();
      if (Is(kind, kThisLibrary)) continue;
      const Blob module = Bytes();
      if (Is(kind, kExecutorKind)) return module;
    }
    throw std::runtime_error("it holds no executor; it was not written by tdse");
  }

 private:
  static bool Is(const Blob& text, const char* other) {
    return text.size == std::strlen(other) && std::memcmp(text.data, other, text.size) == 0;
  }

  uint64_t Number() {
    Require(sizeof(uint64_t));
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof(number); ++i) number |= uint64_t{data_[at_ + i]} << (8 * i);
    at_ += sizeof(number);
    return number;
  }

  Blob Bytes() {
    const uint64_t length = Number();
    Require(length);
    const Blob bytes{data_ + at_, static_cast<size_t>(length)};
    at_ += length;
    return bytes;
  }

  // Passes over a list; how many numbers it has.
  size_t Numbers() {
    const uint64_t count = Number();
    if (count > (size_ - at_) / sizeof(uint64_t)) Require(UINT64_MAX);
    at_ += count * sizeof(uint64_t);
    return count;
  }

  void Require(uint64_t bytes) const {
    if (bytes > size_ - at_) throw std::runtime_error("what TVM embedded in it is damaged");
  }

  const uint8_t* const data_;
  uint64_t size_;
  uint64_t at_ = 0;
};

}  // namespace

LibraryFile::LibraryFile(const std::string& path) {
  RequireOwnMachine(path);
  // Without a slash it would be looked for where libraries are.
  const std::string name = path.find('/') == std::string::npos ? "./" + path : path;
  handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* reason = dlerror();
    throw std::runtime_error(reason != nullptr ? WithoutPath(reason, name)
                                               : "the dynamic linker refuses it");
  }
  try {
    GiveWorkspace(handle_);
    const auto* bin = static_cast<const uint8_t*>(dlsym(handle_, kLibraryBin));
    if (bin == nullptr) {
      throw std::runtime_error("it holds no executor; it was not written by tdse");
    }
    plan_ = BinReader(bin).Plan();
  } catch (...) {
    dlclose(handle_);
    throw;
  }
}

LibraryFile::~LibraryFile() { dlclose(handle_); }

void LibraryFile::ForgetPlan() const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // Whole pages only: what is beside may be in use. They are a private mapping of the file that
  // nobody has written to, so nothing is lost.
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(plan_.data) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(plan_.data + plan_.size) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void LibraryFile::RequireOwnKernels() const { RequireNoMoreThanWorkspace(handle_); }

TVMFFISafeCallType LibraryFile::FindKernel(const std::string& symbol) const {
  return reinterpret_cast<TVMFFISafeCallType>(dlsym(handle_, (kFunctionPrefix + symbol).c_str()));
}

}  // namespace tdse
