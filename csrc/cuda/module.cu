// The Python module spectral_graph._CUDA. Importing it registers the kernels of csrc/cuda; it has no other content.
// Compiled for sm_80 and sm_90, executed in emulation only.

#include <Python.h>

extern "C" PyObject* PyInit__CUDA(void) {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_CUDA", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
