package com.webank.eggroll.rollframe;

import org.apache.arrow.vector.VectorSchemaRoot;

/** Does not compile, for Arrow is not among the dependencies: no image starts this, so no build may want it. */
public final class RollFrame {
    private VectorSchemaRoot root;
}
