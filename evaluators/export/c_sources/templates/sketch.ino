// Checks the network on the board and times one inference.
#include <@name@.h>

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < 3000) {
  }
  Serial.println(@name@_selftest() == 0 ? "the test vector is right"
                                        : "the test vector gives another output than expected");
  const unsigned long began = micros();
  @name@_infer(@NAME@_INPUT, @NAME@_OUTPUT);
  Serial.print("one inference, microseconds: ");
  Serial.println(micros() - began);
}

void loop() {}
