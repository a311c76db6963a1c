// A call of a packed function whose arguments are always the same.
#ifndef TDSE_TVM_BOUND_CALL_H_
#define TDSE_TVM_BOUND_CALL_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <stdexcept>
#include <vector>

namespace tdse {

// A packed function with the arguments of all its calls, which it does not own.
struct BoundCall {
  tvm::ffi::Function function;
  std::vector<tvm::ffi::AnyView> arguments;

  tvm::ffi::Any operator()() const {
    tvm::ffi::Any result;
    try {
      function.CallPacked(
          tvm::ffi::PackedArgs(arguments.data(), static_cast<int32_t>(arguments.size())), &result);
    } catch (const tvm::ffi::Error& error) {
      // what() would add a backtrace.
      throw std::runtime_error(error.message());
    }
    return result;
  }
};

}  // namespace tdse

#endif  // TDSE_TVM_BOUND_CALL_H_
