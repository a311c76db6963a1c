// A runtime module that TVM exported as a shared library, opened without TVM.
#ifndef TDSE_RUNTIME_LIBRARY_FILE_H_
#define TDSE_RUNTIME_LIBRARY_FILE_H_

#include <string>

#include "kernel_region.h"
#include "plan.h"

namespace tdse {

// The code of model.so and the plan that TVM has embedded there.
class LibraryFile {
 public:
  // Throws std::runtime_error: the file is missing, for another processor, no such library, or
  // without a plan.
  explicit LibraryFile(const std::string& path);
  ~LibraryFile();
  LibraryFile(const LibraryFile&) = delete;
  LibraryFile& operator=(const LibraryFile&) = delete;

  // The bytes of the plan, at any address. They live as long as this.
  const Blob& plan() const { return plan_; }

  // Lets the pages of the plan go that are in memory; they are read again if they are touched.
  void ForgetPlan() const;

  // Throws std::runtime_error if its kernels cannot be called without TVM's runtime.
  void RequireOwnKernels() const;

  // Null if there is none of this symbol.
  TVMFFISafeCallType FindKernel(const std::string& symbol) const;

 private:
  void* handle_ = nullptr;
  Blob plan_;
};

}  // namespace tdse

#endif  // TDSE_RUNTIME_LIBRARY_FILE_H_
