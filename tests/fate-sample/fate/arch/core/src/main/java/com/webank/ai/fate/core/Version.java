package com.webank.ai.fate.core;

/** All that the sample has of fate-core: upstream builds the module, and no image ships it. */
public final class Version {
    public static final String ARCH = "1.1";

    private Version() {}
}
