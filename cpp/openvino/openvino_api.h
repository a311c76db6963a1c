// The part of OpenVINO's C API that is called, found in libopenvino_c.so at run time, so that
// nothing of OpenVINO is needed to build.
//
// The declarations are those of openvino/c/openvino.h, which keeps its interface from release to
// release.
#ifndef TDSE_OPENVINO_OPENVINO_API_H_
#define TDSE_OPENVINO_OPENVINO_API_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace tdse {
namespace openvino {

using Status = int;
constexpr Status kOk = 0;

struct Core;
struct Model;
struct CompiledModel;
struct Request;
struct Tensor;
struct Port;

using ElementType = int;
constexpr ElementType kU8 = 16;

struct Shape {
  int64_t rank;
  int64_t* dims;
};

// One entry for each function: result, name without the prefix ov_, parameters.
#define TDSE_OPENVINO_FUNCTIONS(F)                                                               \
  F(const char*, get_last_err_msg, void)                                                         \
  F(void, free, const char*)                                                                     \
  F(Status, core_create, Core**)                                                                 \
  F(Status, core_read_model_from_memory_buffer, const Core*, const char*, size_t, const Tensor*, \
    Model**)                                                                                     \
  F(Status, core_compile_model, const Core*, const Model*, const char*, size_t, CompiledModel**, \
    ...)                                                                                         \
  F(void, model_free, Model*)                                                                    \
  F(void, compiled_model_free, CompiledModel*)                                                   \
  F(Status, compiled_model_inputs_size, const CompiledModel*, size_t*)                           \
  F(Status, compiled_model_outputs_size, const CompiledModel*, size_t*)                          \
  F(Status, compiled_model_input_by_index, const CompiledModel*, size_t, Port**)                 \
  F(Status, compiled_model_output_by_index, const CompiledModel*, size_t, Port**)                \
  F(Status, compiled_model_create_infer_request, const CompiledModel*, Request**)                \
  F(void, output_const_port_free, Port*)                                                         \
  F(Status, const_port_get_shape, const Port*, Shape*)                                           \
  F(Status, port_get_element_type, const Port*, ElementType*)                                    \
  F(Status, shape_free, Shape*)                                                                  \
  F(Status, tensor_create_from_host_ptr, ElementType, Shape, void*, Tensor**)                    \
  F(Status, tensor_get_byte_size, const Tensor*, size_t*)                                        \
  F(void, tensor_free, Tensor*)                                                                  \
  F(Status, infer_request_set_input_tensor_by_index, Request*, size_t, const Tensor*)            \
  F(Status, infer_request_set_output_tensor_by_index, Request*, size_t, const Tensor*)           \
  F(Status, infer_request_infer, Request*)                                                       \
  F(void, infer_request_free, Request*)

struct Api {
#define TDSE_DECLARE(result, name, ...) result (*name)(__VA_ARGS__);
  TDSE_OPENVINO_FUNCTIONS(TDSE_DECLARE)
#undef TDSE_DECLARE
};

// Where libopenvino_c.so is. Has no effect once the library is loaded.
void SetLibrary(const std::string& path);

// The library, loaded at the first call. Throws std::runtime_error if that fails.
const Api& GetApi();

// What compiles models for the whole process, made at the first call. Throws std::runtime_error.
const Core* GetCore();

// Throws std::runtime_error "openvino: cannot <what>: <reason>" unless `status` is kOk.
void Check(Status status, const std::string& what);

}  // namespace openvino
}  // namespace tdse

#endif  // TDSE_OPENVINO_OPENVINO_API_H_
