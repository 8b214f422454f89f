package org.fedai.osx.core;

import java.io.FileReader;
import java.io.IOException;
import java.util.Properties;

public final class MetaInfo {
    private MetaInfo() {}

    /** broker/broker.properties in a directory. */
    public static Properties read(String directory) throws IOException {
        Properties read = new Properties();
        try (FileReader file = new FileReader(directory + "/broker/broker.properties")) {
            read.load(file);
        }
        return read;
    }
}
