/* The functions that NVIDIA's Python bindings need of TensorRT's libraries, and nothing else: each returns what the test
   has set for it (``rig_NAME``), NULL where it has set nothing. */
#define GIVES(name) \
    void *rig_##name; \
    void *name(void) { return rig_##name; }
GIVES(createInferBuilder_INTERNAL)
GIVES(createInferRefitter_INTERNAL)
GIVES(createInferRuntime_INTERNAL)
GIVES(createNvOnnxParserRefitter_INTERNAL)
GIVES(createNvOnnxParser_INTERNAL)
GIVES(getBuilderPluginRegistry)
GIVES(getPluginRegistry)
int getNvOnnxParserVersion(void) { return 1; }
unsigned char initLibNvInferPlugins(void) { return 1; }
